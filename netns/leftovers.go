package netns

// A Leftover is one thing that outlived, or has not yet outlived, what it was made for. Whether its owner still
// lives is the caller's to know.
type Leftover struct {
	// ID is the owner's: a member, an attachment's container ID, or the name of a directory below the run directory.
	ID string
	// Kind is "member", "reservation", "link" or "mount".
	Kind string
	// Name is the thing's own: a file, a link's name, a mount point.
	Name string
}
