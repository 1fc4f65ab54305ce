package pod

import "fmt"

// A Gate is one of Kubernetes' feature gates that decide something here. Its text is Kubernetes' name for it.
type Gate uint8

// The gates. The first group is the planner's, the second decides what a manifest may say and how it is set up.
const (
	_ Gate = iota
	GateSidecarContainers
	GateContainerRestartRules
	GateRestartAllContainers
	GateContainerStopSignals
	GateCrashLoopBackOffMax
	GateReduceCrashLoopBackOff
	GateReadyToStartContainers

	GateSleepAction
	GateSleepActionAllowZero
	GateEnvFiles
	GateHostnameOverride
	GatePodLevelResources
	GateRelaxedEnvNames
	GateImageVolume
	GateRecursiveReadOnlyMounts
	GateSupplementalGroupsPolicy
)

// A gateSpec is what is known of one gate. All were off first and on later, so that a release says all.
type gateSpec struct {
	name string
	// born is the first release that has it, on the first in which it is on without being asked, 0: none is. locked is
	// the first in which it cannot be turned off any more, or is gone because what it gated always holds; 0: it can be.
	born, on, locked Version
	// needs are the gates without which it cannot be on.
	needs []Gate
	// decides is what it decides, and for whom, in words.
	decides string
}

// gateTable is the truth about the gates; a test holds it to what Kubernetes' own table says, and makes GATES.md of it.
var gateTable = [...]gateSpec{
	GateSidecarContainers: {name: "SidecarContainers", born: 28, on: 29, locked: 33,
		decides: "Init containers with `restartPolicy: Always` are sidecars (SC-01)."},
	GateContainerRestartRules: {name: "ContainerRestartRules", born: 34, on: 35,
		decides: "A container's own `restartPolicy` and `restartPolicyRules` count (RP-04..11); without it they are dropped."},
	GateRestartAllContainers: {name: "RestartAllContainersOnContainerExits", born: 35, on: 36, needs: []Gate{GateContainerRestartRules},
		decides: "Rules with the action `RestartAllContainers` count (RA); without it the container's own policy does."},
	GateContainerStopSignals: {name: "ContainerStopSignals", born: 33,
		decides: "`lifecycle.stopSignal` counts and is reported (SG); without it it is dropped."},
	GateCrashLoopBackOffMax: {name: "KubeletCrashLoopBackOffMax", born: 32, on: 35,
		decides: "The kubelet may be given a lower cap of the crash back-off (BO-07)."},
	GateReduceCrashLoopBackOff: {name: "ReduceDefaultCrashLoopBackOffDecay", born: 33,
		decides: "The crash back-off begins at 1 s (BO-08)."},
	GateReadyToStartContainers: {name: "PodReadyToStartContainersCondition", born: 28, on: 29, locked: 37,
		decides: "The condition of that name is reported (PH-11)."},

	GateSleepAction: {name: "PodLifecycleSleepAction", born: 29, on: 30, locked: 34,
		decides: "Hooks may sleep (LH-03)."},
	GateSleepActionAllowZero: {name: "PodLifecycleSleepActionAllowZero", born: 32, on: 33, locked: 34,
		decides: "Hooks may sleep for 0 s (LH-04)."},
	GateEnvFiles: {name: "EnvFiles", born: 34, on: 35,
		decides: "`env[].valueFrom.fileKeyRef` counts."},
	GateHostnameOverride: {name: "HostnameOverride", born: 34, on: 35, locked: 37,
		decides: "`spec.hostnameOverride` counts (NW-09)."},
	GatePodLevelResources: {name: "PodLevelResources", born: 32, on: 34,
		decides: "`spec.resources` counts (RS-06)."},
	GateRelaxedEnvNames: {name: "RelaxedEnvironmentVariableValidation", born: 30, on: 32, locked: 34,
		decides: "Names of environment variables may hold any printable character but `=`."},
	GateImageVolume: {name: "ImageVolume", born: 31, on: 35, locked: 36,
		decides: "Image volumes are mounted (VO-17)."},
	GateRecursiveReadOnlyMounts: {name: "RecursiveReadOnlyMounts", born: 30, on: 31, locked: 33,
		decides: "`volumeMounts[].recursiveReadOnly` counts (VO-14)."},
	GateSupplementalGroupsPolicy: {name: "SupplementalGroupsPolicy", born: 31, on: 33, locked: 35,
		decides: "`securityContext.supplementalGroupsPolicy` counts (NS-03)."},
}

var gateNames = func() (names [len(gateTable)]string) {
	for g, spec := range gateTable {
		names[g] = spec.name
	}
	return names
}()

// Gates lists the gates in order.
func Gates() []Gate { return enumerate[Gate](len(gateTable)) }

func (g Gate) String() string                { return enumString("Gate", gateNames[:], int(g)) }
func (g Gate) MarshalText() ([]byte, error)  { return enumText("Gate", gateNames[:], int(g)) }
func (g *Gate) UnmarshalText(b []byte) error { return enumParse("feature gate", gateNames[:], b, g) }

// Default reports whether a release has the gate on without being asked.
func (g Gate) Default(v Version) bool {
	on := gateTable[g].on
	return on != 0 && v.Minor() >= on.Minor()
}

// Locked reports whether a release cannot turn the gate off.
func (g Gate) Locked(v Version) bool {
	locked := gateTable[g].locked
	return locked != 0 && v.Minor() >= locked.Minor()
}

// A gateSet holds the gates that are on, a bit for each.
type gateSet uint32

func (s gateSet) has(g Gate) bool { return s&(1<<g) != 0 }

// gatesOf are the gates that are on in a release with some set by hand.
func gatesOf(v Version, set map[Gate]bool) (on gateSet) {
	for _, g := range Gates() {
		is, asked := set[g]
		if asked && is || !asked && g.Default(v) {
			on |= 1 << g
		}
	}
	return on
}

// checkGates says what is wrong with gates set by hand.
func checkGates(v Version, set map[Gate]bool) error {
	on := gatesOf(v, set)
	for _, g := range Gates() {
		switch is, asked := set[g]; {
		case asked && v.Minor() < gateTable[g].born.Minor():
			return fmt.Errorf("there is no feature gate %s in Kubernetes %s: leave it out, or use %s or later", g, v, gateTable[g].born)
		case asked && !is && g.Locked(v):
			return fmt.Errorf("feature gate %s cannot be turned off in Kubernetes %s: leave it out", g, v)
		}
		for _, need := range gateTable[g].needs {
			if on.has(g) && !on.has(need) {
				return fmt.Errorf("feature gate %s needs %s: turn that on too, or this off", g, need)
			}
		}
	}
	return nil
}
