package main

import "fmt"

// image is what all containers run.
const image = "podsim.local/sidekick:dev"

// A kind is one of the pods.
type kind struct {
	name   string
	policy string // its restartPolicy
	more   string // a container of its own, as YAML
	resets bool   // a rule restarts all containers
}

// resetCode is the exit code by which a container has all of them restarted.
const resetCode = 42

var kinds = []kind{
	{name: "always", policy: "Always"},
	{name: "onfailure", policy: "OnFailure"},
	{name: "never", policy: "Never"},
	{name: "resets", policy: "Always", resets: true, more: fmt.Sprintf(`
  - name: boss
    image: %s
    imagePullPolicy: Never
    args: [app, --listen, ":8084"]
    restartPolicy: Never
    restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [%d]}}]
`, image, resetCode)},
}

// ports are those at which containers can be told to exit or to be unready.
var ports = map[string]int{"proxy": 8081, "app": 8080, "weak": 8082, "onfailure": 8083, "boss": 8084}

// manifest is a pod with every role and policy, that its probes find unready, unhealthy or not started at times.
func (k kind) manifest() string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %[1]s}
spec:
  restartPolicy: %[2]s
  terminationGracePeriodSeconds: 3
  initContainers:
  - name: seed
    image: %[3]s
    imagePullPolicy: Never
    args: [init, --sleep, 100ms, --fail-first, "%[4]d", --count-file, /work/seed]
    volumeMounts: [{name: work, mountPath: /work}]
  - name: proxy
    image: %[3]s
    imagePullPolicy: Never
    restartPolicy: Always
    args: [app, --listen, ":8081", --ready-after, 300ms]
    startupProbe: {httpGet: {path: /readyz, port: 8081}, periodSeconds: 1, failureThreshold: 60}
    readinessProbe: {httpGet: {path: /readyz, port: 8081}, periodSeconds: 1, failureThreshold: 1}
  - name: late
    image: %[3]s
    imagePullPolicy: Never
    args: [init, --sleep, 50ms]
  - name: logs
    image: %[3]s
    imagePullPolicy: Never
    restartPolicy: Always
    args: [run, --term-delay, 200ms]
  containers:
  - name: app
    image: %[3]s
    imagePullPolicy: Never
    args: [app, --ready-after, 500ms]
    readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1, failureThreshold: 1}
    livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 2, failureThreshold: 3}
    lifecycle: {preStop: {sleep: {seconds: 1}}}
  - name: weak
    image: %[3]s
    imagePullPolicy: Never
    args: [app, --listen, ":8082", --unhealthy-after, 12s]
    livenessProbe: {httpGet: {path: /healthz, port: 8082}, periodSeconds: 1, failureThreshold: 2}
  - name: once
    image: %[3]s
    imagePullPolicy: Never
    args: [run]
    restartPolicy: Never
  - name: onfailure
    image: %[3]s
    imagePullPolicy: Never
    args: [app, --listen, ":8083"]
    restartPolicy: OnFailure
    lifecycle: {postStart: {exec: {command: [/sidekick, "true"]}}}
%[5]s
  volumes:
  - {name: work, emptyDir: {}}
`, k.name, k.policy, image, k.failures(), k.more)
}

// failures are how often the first init container fails; under Never once would end the pod.
func (k kind) failures() int {
	if k.policy == "Never" {
		return 0
	}
	return 2
}
