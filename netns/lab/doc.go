// Package lab makes throw-away networks and cgroups for the tests of the netns packages: namespaces, the links
// between them, cgroups with processes in them. Only tests import it.
//
// Everything has a name of its own, belongs to one test and is gone after it; nothing touches the machine's own
// network. On a host where that is impossible, a test skips, or fails where PODSIM_REQUIRE_HOST=1.
package lab
