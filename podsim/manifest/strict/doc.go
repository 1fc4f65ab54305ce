// Package strict decodes a YAML tree into Go values by their json tags, and refuses what does not fit, each thing
// with its position: unknown keys with the nearest right name, values of the wrong type, bad quantities, numbers
// out of range.
//
// It owns the decoding and the Index that finds, for a path such as spec.containers[0].image, the place in the
// file. It judges no values: that is validation, which uses the Index to say where.
//
// Scalars are read as Kubernetes reads them, that is by YAML 1.1: yes, no, on and off are booleans, 0644 is octal,
// and a number or a boolean is no string unless it is quoted.
package strict
