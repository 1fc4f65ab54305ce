package host

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestQueueLetsTheLowestNumberThroughFirstHoweverTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q queue
		var order []int
		var all sync.WaitGroup
		for _, n := range []int{3, 0, 4, 1, 2} {
			all.Go(func() {
				if err := q.enter(t.Context(), n); err != nil {
					t.Error(err)
					return
				}
				order = append(order, n) // one place: nobody else is in here
				q.leave()
			})
		}
		synctest.Wait()
		if len(order) > 0 {
			t.Errorf("a closed queue let %v through", order)
		}
		q.open(1)
		all.Wait()
		if want := []int{0, 1, 2, 3, 4}; !slices.Equal(order, want) {
			t.Errorf("they came through as %v, want %v", order, want)
		}
	})
}

func TestQueueHasNoMoreInsideThanPlacesAndLosesNoneToThoseWhoGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q queue
		q.open(2)
		q.open(5) // does nothing
		impatient, giveUp := context.WithCancelCause(t.Context())
		errGone := errors.New("gone")
		var all sync.WaitGroup
		var mu sync.Mutex
		inside, most := 0, 0
		for n := range 8 {
			ctx := t.Context()
			if n%2 == 1 {
				ctx = impatient
			}
			all.Go(func() {
				if err := q.enter(ctx, n); err != nil {
					if !errors.Is(err, errGone) {
						t.Errorf("enter returned %v, want the context's cause", err)
					}
					return
				}
				mu.Lock()
				inside++
				most = max(most, inside)
				mu.Unlock()
				<-time.After(time.Millisecond) // virtual time
				mu.Lock()
				inside--
				mu.Unlock()
				q.leave()
			})
		}
		giveUp(errGone)
		all.Wait()
		if most > 2 {
			t.Errorf("%d were inside at once, of 2 places", most)
		}
		if q.free != 2 || len(q.waiting) != 0 {
			t.Errorf("in the end %d places are free and %d wait, want 2 and 0", q.free, len(q.waiting))
		}
	})
}
