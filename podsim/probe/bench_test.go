package probe

import (
	"io"
	"net/http"
	"testing"

	"github.com/podsim/podsim/podsim/pod"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"
)

// BenchmarkProbe is one attempt of each kind against a server on loopback.
func BenchmarkProbe(b *testing.B) {
	_, web := serve(b, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	rpc := serveGRPC(b, func(s *grpc.Server) { healthpb.RegisterHealthServer(s, health.NewServer()) })
	for _, bb := range []struct {
		name  string
		probe *corev1.Probe
	}{{"http", httpGet(web, "/healthz")}, {"tcp", tcpSocket(web)}, {"grpc", grpcProbe(rpc, nil)}} {
		b.Run(bb.name, func(b *testing.B) {
			p := &Prober{}
			b.ReportAllocs()
			for b.Loop() {
				if o := p.Probe(b.Context(), bb.probe, loopback); o.Result != pod.Success {
					b.Fatalf("got %v with %q, error %v", o.Result, o.Output, o.Err)
				}
			}
		})
	}
}
