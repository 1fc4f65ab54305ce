package intercept

import "fmt"

// Render turns a config into rules. An option that the profile does not know is an error, never left out.
func Render(c Config) (Ruleset, error) {
	if err := c.check(); err != nil {
		return Ruleset{}, fmt.Errorf("render interception rules: %w", err)
	}
	var s Ruleset
	families := []Family{IP4, IP6}
	if c.IPv6 == IPv6Bypass {
		families = families[:1]
		s.Notes = append(s.Notes, "IPv6 is not redirected")
	}
	for _, f := range families {
		t := Table{Family: f, Name: TablePrefix + c.Profile.String()}
		switch c.Profile {
		case Istio:
			t.Chains = istioChains(c, f)
		case Linkerd:
			t.Chains = linkerdChains(c, f)
		}
		s.Tables = append(s.Tables, t)
	}
	return s, nil
}

// TablePrefix begins the name of every table of this package.
const TablePrefix = "podsim-"

var pass Verdict // returns

func jump(chain string) Verdict { return Verdict{Jump: chain} }

func redirect(port uint16) Verdict { return Verdict{Redirect: port} }

// not turns a match round.
func not(m Match) Match { m.Not = true; return m }

var (
	tcp    = Match{Key: TCP}
	onLoop = Match{Key: OutLink, Link: "lo"}
)

func port(r PortRange) Match { return Match{Key: DestPort, Ports: r} }

func uid(id uint32) Match { return Match{Key: SocketUID, ID: id} }

func gid(id uint32) Match { return Match{Key: SocketGID, ID: id} }

// add appends a rule to the chain.
func (c *Chain) add(why string, v Verdict, match ...Match) {
	c.Rules = append(c.Rules, Rule{Match: match, Verdict: v, Why: why})
}
