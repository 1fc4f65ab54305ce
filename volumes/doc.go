// Package volumes turns descriptions of volumes into directories, and mounts of them into sources and options of OCI
// bind mounts. It knows nothing of pods: what a ConfigMap holds, or which limit is the smallest, the caller has
// settled before.
//
// It owns one directory, Set.Dir, and everything in it:
//
//	Dir/                      0700: what is in it is not for the machine's other users
//	├── scratch/              an emptyDir: 0777 on Dir's file system (VO-01), or a tmpfs (VO-02)
//	├── config/               files (VO-05):
//	│   ├── ..2026_11_22_…/     one complete version of them
//	│   ├── ..data ──────────►  the version in force; replaced by one rename (VO-08)
//	│   └── key ─────────────►  ..data/key
//	├── .new-scratch/         a volume's root that has not got its mode and owner yet
//	└── .sub/                 held subPaths, a bind mount each
//	    └── app.2
//
// A hostPath has no place in Dir: its source is the path itself.
//
// # What a subPath can reach
//
// A container may write symlinks into a volume, and swap them while another container's subPath is resolved. So a
// subPath is resolved by the kernel in one step (openat2 with RESOLVE_BENEATH: a symlink that would leave the volume
// is an error), and what came of it is held: /proc/self/fd/N is bind-mounted onto Dir/.sub/KEY, and that is the
// source that the runtime gets. From then on no change in the volume can make the runtime mount something else
// (VO-13). A hold never carries a mount or an unmount back to where it came from, unless Bidirectional was asked for.
//
// # What TearDown can remove
//
// TearDown first cuts every mount below Dir off its peers, so that an unmount here is not one of the user's mounts
// elsewhere; then unmounts, deepest first; and removes nothing if one is left. The removal itself goes from
// directory to directory by descriptor and never crosses a mount point (openat2 with RESOLVE_NO_XDEV), whatever
// appears meanwhile. A hostPath's data is out of its reach: nothing in Dir leads there but mounts.
//
// Nothing is remembered between calls but what is on disk, so that TearDown serves the normal end, a set-up that
// failed half-way and the recovery after a crash alike.
//
// Linux 5.8 is needed; elsewhere every method with an effect returns ErrUnsupported.
package volumes
