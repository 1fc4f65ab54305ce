//go:build linux

package ctrd

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// BenchmarkPodStart creates the containers of one pod in parallel, starts them one after the other, and removes them;
// it reports the mean of each part in milliseconds.
func BenchmarkPodStart(b *testing.B) {
	for _, n := range []int{3, 9} {
		b.Run(fmt.Sprintf("%d containers", n), func(b *testing.B) {
			f := newFixture(b)
			var created, started, removed time.Duration
			for i := 0; b.Loop(); i++ {
				pod := fmt.Sprintf("%s-%d", f.run, i)
				containers := make([]*Container, n)
				begin := time.Now()
				var group errgroup.Group
				for j := range containers {
					group.Go(func() (err error) {
						cfg := f.config(fmt.Sprintf("%d-%d", i, j), "block")
						cfg.Pod = pod
						containers[j], err = f.c.Create(b.Context(), cfg)
						return err
					})
				}
				if err := group.Wait(); err != nil {
					b.Fatal(err)
				}
				created += lap(&begin)
				for _, k := range containers {
					if err := k.Start(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				started += lap(&begin)
				for _, k := range containers {
					group.Go(func() error { return k.Delete(b.Context()) })
				}
				if err := group.Wait(); err != nil {
					b.Fatal(err)
				}
				removed += lap(&begin)
			}
			report := func(d time.Duration, unit string) {
				b.ReportMetric(float64(d.Microseconds())/1000/float64(b.N), unit)
			}
			report(created, "create-ms")
			report(started, "start-ms")
			report(created+started, "up-ms")
			report(removed, "remove-ms")
		})
	}
}

func lap(begin *time.Time) time.Duration {
	now := time.Now()
	d := now.Sub(*begin)
	*begin = now
	return d
}
