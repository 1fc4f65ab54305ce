// Package env works out the environment of a container, and what its command, its arguments and its subPathExprs
// come to in it, as the kubelet does. It is pure: everything that is known of the pod and of its node is in Facts.
//
// Its errors are *Error, whose Reason is the reason of the container's waiting state.
//
// The image's own environment is not part of it: references $(NAME) do not see it, and the caller puts it before
// the result.
package env
