package netns

// A Finding is one fact about the machine's network that decides whether, or how, pods work on it.
type Finding struct {
	// Name is short and stable: "nftables", "ip_forward".
	Name string `json:"name"`
	// OK is true where nothing needs to be done.
	OK bool `json:"ok"`
	// Fatal is true where no pod with a network can run until Fix is done.
	Fatal bool `json:"fatal,omitempty"`
	// Detail says what is, and what follows from it.
	Detail string `json:"detail"`
	// Fix is the command that mends it, or the option that goes round it; empty if OK.
	Fix string `json:"fix,omitempty"`
}
