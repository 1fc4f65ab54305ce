package main

import (
	"encoding/binary"
	"net/http"
)

// grpcHealth answers grpc.health.v1.Health/Check, for any service, by the app's readiness. A gRPC call is an
// HTTP/2 request whose message has a five-byte prefix and whose status is a trailer; the answer is one varint
// field, so a gRPC library would be most of the program for two bytes.
func (a *app) grpcHealth(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 2 {
		http.Error(w, "gRPC needs HTTP/2", http.StatusUpgradeRequired)
		return
	}
	const serving, notServing = 1, 2
	state := byte(notServing)
	if a.ready() {
		state = serving
	}
	message := []byte{0x08, state} // field 1, varint
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	w.Write(append(frame, message...))
	w.Header().Set("Grpc-Status", "0")
}
