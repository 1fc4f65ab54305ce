# podsim: `make demo` shows it, `make test` tests it as CI does. `make help` lists the rest.

GO      ?= go
SUDO    := $(if $(filter 0,$(shell id -u)),,sudo)
BIN     := bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
# The bundled containerd carries what podsim uses and no more: it boots faster and is smaller.
BUNDLE_TAGS := no_cri,no_btrfs,no_zfs,no_devmapper,no_aufs

export CGO_CFLAGS ?= -O2

.PHONY: help build bundle demo test vet lint unit race real crash lifecycle soak bench clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

build: bundle ## podsim, sidekick and the bundle, in bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/...

# All but runc, which needs C to enter namespaces, are static: they start quicker, and some are started for every pod.
bundle: ## containerd, its shim, runc and the CNI plugins, from go.mod's tool lines
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(BUNDLE_TAGS) -ldflags '-s -w' -o $(BIN)/ $$($(GO) list tool | grep -v /runc$$)
	CGO_ENABLED=1 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/ $$($(GO) list tool | grep /runc$$)

demo: build ## run the example scenarios and show what happens
	$(SUDO) $(BIN)/podsim test scenarios/examples

test: build vet lint race real crash ## everything that CI runs

vet:
	$(GO) vet ./...
	GOOS=darwin $(GO) build ./...
	GOOS=windows $(GO) build -o /dev/null ./cmd/podsim

lint: ## the linter, built from scripts/lint at its pinned version
	$(GO) tool -modfile=scripts/lint/go.mod golangci-lint run

# The pure packages: no root, no machine.
PURE := ./podsim ./podsim/pod/... ./podsim/timeline/... ./podsim/manifest/... ./scenarios/...
unit: ## tests of the pure packages alone, in seconds
	$(GO) test $(PURE)

race: ## the concurrent packages, under the race detector
	$(GO) test -race ./podsim ./podsim/pod/podtest ./podsim/probe ./netns/world

real: build ## every test, those against real containerd, containers and packets too; root; a missing prerequisite fails
	PODSIM_REQUIRE_HOST=1 PODSIM_BUNDLE=$(CURDIR)/$(BIN) $(GO) test $(if $(SUDO),-exec "$(SUDO) -E") -count=1 -timeout 20m ./...

crash: build ## kill podsim before and after every action, and look for leaks
	$(SUDO) scripts/crash.sh

lifecycle: build $(BIN)/busybox ## the cases of Kubernetes' own lifecycle tests, driven through podsim's commands; two minutes; root
	PODSIM_REQUIRE_HOST=1 PODSIM_BUNDLE=$(CURDIR)/$(BIN) PODSIM_BUSYBOX=$(CURDIR)/$(BIN)/busybox $(GO) test $(if $(SUDO),-exec "$(SUDO) -E") -count=1 ./scripts/lifecycle

# A static busybox, of this machine or of Debian's package.
$(BIN)/busybox:
	mkdir -p $(BIN)
	scripts/busybox.sh $@

soak: build ## pods whose containers crash at random for ten minutes, and every status held to the timeline; root
	$(SUDO) $(shell command -v $(GO)) run ./scripts/soak --for 10m

bench: build ## start and stop of a pod as ratios to raw runc
	$(SUDO) $(shell command -v $(GO)) run ./scripts/bench

clean:
	rm -rf $(BIN)
