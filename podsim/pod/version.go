package pod

import (
	"fmt"
	"strconv"
	"strings"
)

// A Version is a release of Kubernetes, 1.N, by its N. Its zero value is DefaultVersion.
type Version uint8

// The releases that podsim can follow. The rules were read from DefaultVersion.
const (
	FirstVersion   Version = 33
	DefaultVersion Version = 36
	LastVersion    Version = 37
)

// Versions lists the releases in order.
func Versions() (out []Version) {
	for v := FirstVersion; v <= LastVersion; v++ {
		out = append(out, v)
	}
	return out
}

// Minor is the N of 1.N.
func (v Version) Minor() int {
	if v == 0 {
		v = DefaultVersion
	}
	return int(v)
}

func (v Version) String() string { return "1." + strconv.Itoa(v.Minor()) }

// MarshalText gives "1.N", for the zero value that of DefaultVersion.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText takes "1.N", also with a v before it and a patch release after it, of the releases that podsim can
// follow. Any other text is an error that names them.
func (v *Version) UnmarshalText(text []byte) error {
	fields := strings.Split(strings.TrimPrefix(string(text), "v"), ".")
	if len(fields) == 2 || len(fields) == 3 {
		n, err := strconv.ParseUint(fields[1], 10, 8)
		if at := Version(n); err == nil && fields[0] == "1" && at >= FirstVersion && at <= LastVersion {
			*v = at
			return nil
		}
	}
	return fmt.Errorf("no Kubernetes release that podsim can follow: %q; use one of %s to %s", text, FirstVersion, LastVersion)
}
