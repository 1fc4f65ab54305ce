package pod

import "fmt"

// A TransitionError is an event that cannot follow what was observed before: a bug of whoever made the event, or a
// timeline that was tampered with. The status stays as it was.
type TransitionError struct {
	Event Event
	// Why says in words what stands against it.
	Why string
}

func (e *TransitionError) Error() string {
	verb := map[Kind]string{Began: "begin", Ended: "end"}[e.Event.Kind]
	if verb == "" {
		verb = "be " + e.Event.Kind.String()
	}
	return fmt.Sprintf("%s of pod %q cannot %s now: %s", e.Event.Action, e.Event.Action.Pod, verb, e.Why)
}
