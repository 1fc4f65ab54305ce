// Package payload works out the files of a pod's configMap, secret, downwardAPI and projected volumes: which file
// holds what, with which mode. It is pure; writing them is the business of the package volumes.
//
// Its errors are *Error, with the words of the kubelet's FailedMount events.
package payload
