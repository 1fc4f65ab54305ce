// Package lifecycle holds podsim to what Kubernetes' own tests say of a pod's life. It has tests only:
//
//	make lifecycle
//
// Each case builds a pod as one of the tests of Kubernetes v1.36.3 does (test/e2e_node/container_lifecycle_test.go and its
// neighbours, and test/e2e/common/node; README.md lists them all, and what became of each), gives it to the podsim program,
// and asks of it what that test asks. Nothing here knows podsim from inside: pods are applied, changed, watched and deleted
// by its commands.
//
// Containers run a shell script that tells, in the container's log and on a volume that outlives the container, when it
// starts, has started and exits; see script. A journal puts these lines of all containers in order. Every version of the
// pod's object is recorded as well, and after each case all of them are held to what never may be: see invariants.
//
// The images are made of a static busybox, $PODSIM_BUSYBOX; without one the tests are skipped. podsim and its bundle are in
// $PODSIM_BUNDLE, else in bin/.
package lifecycle
