package probe

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/podsim/podsim/podsim/pod"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	corev1 "k8s.io/api/core/v1"
)

func grpcProbe(port int, service *string) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: int32(port), Service: service}}}
}

// serveGRPC runs a gRPC server on loopback until the test ends, and returns its port.
func serveGRPC(t testing.TB, register func(*grpc.Server), opts ...grpc.ServerOption) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(opts...)
	register(s)
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().(*net.TCPAddr).Port
}

func TestGRPCProbe(t *testing.T) {
	var agent string
	see := grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		agent = strings.Join(md.Get("user-agent"), ",")
		return h(ctx, req)
	})
	status := health.NewServer()
	status.SetServingStatus("shop", healthpb.HealthCheckResponse_SERVING)
	status.SetServingStatus("bank", healthpb.HealthCheckResponse_NOT_SERVING)
	port := serveGRPC(t, func(s *grpc.Server) { healthpb.RegisterHealthServer(s, status) }, see)
	bare := serveGRPC(t, func(*grpc.Server) {})
	closed := closedPort(t)

	tests := []struct {
		name   string
		probe  *corev1.Probe
		result pod.Result
		output string
	}{
		{"PB-05: SERVING is a success", grpcProbe(port, new("shop")), pod.Success, "service healthy"},
		{"PB-05: the service is the server's own by default", grpcProbe(port, nil), pod.Success, "service healthy"},
		{"PB-05: NOT_SERVING is a failure", grpcProbe(port, new("bank")), pod.Failed, `service unhealthy (responded with "NOT_SERVING")`},
		{"an unknown service is a failure", grpcProbe(port, new("nope")), pod.Failed,
			"error: health rpc probe failed: rpc error: code = NotFound desc = unknown service"},
		{"a server without the protocol is a failure", grpcProbe(bare, nil), pod.Failed,
			"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service grpc.health.v1.Health"},
		{"a closed port is tried until the time-out", grpcProbe(closed, nil), pod.Failed,
			fmt.Sprintf(`timeout: failed to connect service "127.0.0.1:%d" within 1s: context deadline exceeded`, closed)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := new(Prober).Probe(t.Context(), tt.probe, loopback)
			if o.Result != tt.result || o.Output != tt.output {
				t.Errorf("got %v with %q, error %v; want %v with %q", o.Result, o.Output, o.Err, tt.result, tt.output)
			}
		})
	}
	if !strings.HasPrefix(agent, "kube-probe/1.36 ") {
		t.Errorf("the server saw the agent %q; want kube-probe/1.36", agent)
	}
}

// hung answers no health check.
type hung struct {
	healthpb.UnimplementedHealthServer
}

func (hung) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestGRPCProbeOfAHungServiceTimesOut(t *testing.T) {
	port := serveGRPC(t, func(s *grpc.Server) { healthpb.RegisterHealthServer(s, hung{}) })
	o := new(Prober).Probe(t.Context(), grpcProbe(port, nil), loopback)
	if want := "timeout: health rpc did not complete within 1s"; o.Result != pod.Failed || o.Output != want {
		t.Errorf("got %v with %q; want failure with %q", o.Result, o.Output, want)
	}
}
