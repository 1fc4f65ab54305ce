package intercept

import (
	"fmt"
	"strings"
)

// A Profile is a mesh whose rules are known.
type Profile uint8

// The profiles.
const (
	_ Profile = iota
	// Istio is istio-init's REDIRECT mode.
	Istio
	// Linkerd is linkerd-init's.
	Linkerd
)

var profileNames = [...]string{Istio: "istio", Linkerd: "linkerd"}

// Profiles lists the profiles in order.
func Profiles() []Profile { return []Profile{Istio, Linkerd} }

// ParseProfile finds a profile by its name. The error names those there are.
func ParseProfile(name string) (Profile, error) {
	for _, p := range Profiles() {
		if p.String() == name {
			return p, nil
		}
	}
	return 0, fmt.Errorf("unknown interception profile %q (known: %s)", name, strings.Join(profileNames[1:], ", "))
}

func (p Profile) String() string {
	if p == 0 || int(p) >= len(profileNames) {
		return fmt.Sprintf("Profile(%d)", uint8(p))
	}
	return profileNames[p]
}

// MarshalText is the profile's name.
func (p Profile) MarshalText() ([]byte, error) {
	if p == 0 || int(p) >= len(profileNames) {
		return nil, fmt.Errorf("no such interception profile: %d", uint8(p))
	}
	return []byte(p.String()), nil
}

// UnmarshalText is ParseProfile.
func (p *Profile) UnmarshalText(text []byte) (err error) {
	*p, err = ParseProfile(string(text))
	return err
}
