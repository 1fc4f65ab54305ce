package probe

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
)

// grpc asks grpc.health.v1 on the pod's address, in plain text; only SERVING is success (PB-05). As in a kubelet
// a refused connection is tried again until the time-out, and so is reported as one.
func (p *Prober) grpc(ctx context.Context, action *corev1.GRPCAction, t Target, timeout time.Duration) Outcome {
	host, err := t.host("")
	if err != nil {
		return unknown(err)
	}
	address := net.JoinHostPort(host, strconv.Itoa(int(action.Port)))
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithUserAgent("kube-probe/"+kubernetes),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableHealthCheck(),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return p.dial(ctx, "tcp", address)
		}))
	if err != nil {
		return failure(fmt.Sprintf("error: failed to connect service at %q: %v", address, err))
	}
	defer conn.Close()

	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if !connect(ctx, conn) {
		return failure(fmt.Sprintf("timeout: failed to connect service %q within %v: %v", address, timeout, ctx.Err()))
	}
	req := &healthpb.HealthCheckRequest{}
	if action.Service != nil {
		req.Service = *action.Service
	}
	resp, err := healthpb.NewHealthClient(conn).Check(ctx, req)
	if err != nil {
		return failure(explain(err, timeout))
	}
	if s := resp.GetStatus(); s != healthpb.HealthCheckResponse_SERVING {
		return failure(fmt.Sprintf("service unhealthy (responded with %q)", s.String()))
	}
	return success("service healthy")
}

// connect waits until conn is ready, and reports false if ctx ends first.
func connect(ctx context.Context, conn *grpc.ClientConn) bool {
	for {
		conn.Connect()
		s := conn.GetState()
		if s == connectivity.Ready {
			return true
		}
		if !conn.WaitForStateChange(ctx, s) {
			return false
		}
	}
}

// explain puts an RPC's error in the kubelet's words.
func explain(err error, timeout time.Duration) string {
	s, _ := status.FromError(err)
	switch s.Code() {
	case codes.Unimplemented:
		return "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): " + s.Message()
	case codes.DeadlineExceeded:
		return fmt.Sprintf("timeout: health rpc did not complete within %v", timeout)
	}
	return fmt.Sprintf("error: health rpc probe failed: %v", err)
}
