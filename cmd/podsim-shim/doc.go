// Podsim-shim stands before containerd's runc shim and answers two questions of containerd's itself.
//
// When a task has been deleted, containerd starts the shim's program once more, to clean up in case the shim had been
// killed; that program starts runc for it. Both find nothing to do, and that is most of what it costs to remove a
// container. podsim-shim looks whether there is anything to do: if runc does not know the container and nothing
// is mounted on its root, it answers as the shim would.
//
// Before its first task containerd asks the shim what it can do, once for each container that comes meanwhile, and only
// to find an annotation that runc's shim never had; the shim starts runc for that too. podsim-shim gives its name.
//
// In every other case, and to every other question, it becomes the shim beside it. It is small and uses little of the
// library because it is started so often.
package main
