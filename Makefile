# Needs Go and make; -race needs a C compiler, "image" a docker or another
# CONTAINER_TOOL, test/browser a Chromium (.ci/chromium). All else is built from the modules that go.mod files name.

GO ?= go
CONTAINER_TOOL ?= docker
IMAGE ?= ghcr.io/rolecall/rolecall

# What "rolecall version" says. release/version says which version is being made;
# without a tag of one, this is a development version of it.
VERSION ?= $(or $(shell git describe --tags --match='v*' --dirty 2>/dev/null),$(shell release/version)-dev)
REVISION ?= $(or $(shell git rev-parse --verify -q HEAD 2>/dev/null),unknown)
BRANCH ?= $(or $(shell git branch --show-current 2>/dev/null),unknown)
BUILD_DATE ?= $(or $(shell git log -1 --format=%cI 2>/dev/null),unknown)# of the commit, so that a build can be repeated

version_pkg = github.com/prometheus/common/version
ldflags = -s -w \
	-X $(version_pkg).Version=$(VERSION) \
	-X $(version_pkg).Revision=$(REVISION) \
	-X $(version_pkg).Branch=$(BRANCH) \
	-X $(version_pkg).BuildDate=$(BUILD_DATE)

# RACE=1 switches the race detector on, but for test/chart and test/prometheus:
# they start nothing of ours, and Helm and Prometheus take minutes to compile.
RACE ?=
TESTFLAGS ?= -timeout=20m
testflags = $(if $(RACE),-race) $(TESTFLAGS)
FUZZTIME ?= 30s

# RERUN=1 runs a failed test again, twice at most, but for what no rerun may hide:
# test/rerun/gotest says what. FLAKY names a file that gets the names of the tests
# that then passed.
RERUN ?=
FLAKY ?=
# Runs go test: $(call go_test,PACKAGES,FLAGS).
go_test = $(if $(RERUN),GO="$(GO)" GOTESTSUM="$(gotestsum)" FLAKY="$(FLAKY)" $(CURDIR)/test/rerun/gotest "$(1)" $(2),$(GO) test $(2) $(1))

# How long "make soak" takes; ROLECALL_SEED repeats another run's order of faults.
SOAK ?= 2m

# What "make bench" measures: all of it by default, or parts as BENCH=requests,takeover.
# With BENCH_FLAGS="-out=docs/benchmarks -page=docs/benchmarks.md" it writes what is
# published.
BENCH ?=
BENCH_FLAGS ?=

# The modules that are tested, vetted and linted; test/controlplane only wraps
# the commands of Kubernetes and is built.
modules = . test/bench test/judge test/chart test/prometheus test/browser
in_modules = set -e; for module in $(modules); do (cd $$module && $(1)); done
# Flags of one of them, named by $$module. Go keeps results though a file changes
# that a test reads beyond its own module, as those below test do.
each_testflags = $$([ $$module = . ] || echo -count=1) $(if $(RACE),$$(case $$module in (test/chart|test/prometheus) ;; (*) echo -race;; esac)) $(TESTFLAGS)

# Packages whose tests with -short are fast and start no server.
fast = ./agent ./awsauth/... ./cmd/... ./config ./election ./imds ./internal/... \
	./manifests/... ./test/awsfake

# The folder with etcd, kube-apiserver and kubectl: yours if you set
# KUBEBUILDER_ASSETS, else the one that the target control-plane builds.
assets = $(or $(KUBEBUILDER_ASSETS),$(shell test/controlplane/build -n))
stage = KUBEBUILDER_ASSETS="$(assets)" ROLECALL_REQUIRE_STAGE=1

# The version before, whose agents test/compat runs. A shallow clone lacks its commit.
before = $(shell tail -n 1 test/compat/before.txt)
has_before = $(shell git cat-file -e '$(before)^{commit}' 2>/dev/null && echo 1)

# The newest linter that Go 1.26 builds. It is kept per version.
GOLANGCI_LINT_VERSION = v2.15.0
golangci_lint = $(CURDIR)/.cache/tools/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint

# The newest version that the module proxy serves; Go 1.26 builds it.
GOTESTSUM_VERSION = v1.13.0
gotestsum = $(CURDIR)/.cache/tools/gotestsum-$(GOTESTSUM_VERSION)/gotestsum

# What releases are built with; their newest releases that Go 1.26 builds of what
# the module proxy serves.
GORELEASER_VERSION = v2.16.0
goreleaser = $(CURDIR)/.cache/tools/goreleaser-$(GORELEASER_VERSION)/goreleaser
CYCLONEDX_GOMOD_VERSION = v1.10.0
cyclonedx_gomod = $(CURDIR)/.cache/tools/cyclonedx-gomod-$(CYCLONEDX_GOMOD_VERSION)/cyclonedx-gomod

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/rolecall
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(ldflags)' -o bin/rolecall ./cmd/rolecall

.PHONY: demo
demo: control-plane ## See it work: a cluster, three nodes, an outage (KEEP=1 leaves it running)
	@echo "building the demo"
	@$(GO) build -o bin/demo ./test/demo
	@KUBEBUILDER_ASSETS="$(assets)" bin/demo

.PHONY: test
test: control-plane prometheus $(gotestsum) ## Test everything, against a real kube-apiserver (RACE=1: race detector)
	@$(call in_modules,$(GO) vet ./...)
	@$(if $(has_before),,echo 'NOT TESTED BESIDE THE VERSION BEFORE: this clone lacks $(before): git fetch --unshallow')
	@export $(stage) ROLECALL_REQUIRE_PROMETHEUS=1 ROLECALL_REQUIRE_COMPAT=$(has_before) GOTESTSUM="$(gotestsum)"; $(call in_modules,$(call go_test,./...,$(each_testflags)))

# Linking the test binaries takes most of its time, and less where the linker
# seldom collects garbage. With -count=1 in TESTFLAGS, Go keeps no results.
.PHONY: test-fast
test-fast: ## Run the unit tests, without servers (under 30 s once their binaries are built)
	@GO=$(GO) GOGC=400 test/fast .cache/fast $(fast)

.PHONY: e2e
e2e: control-plane prometheus authenticator ## Do on three real nodes what users do (Linux, root; test/cluster/packages installs what it takes)
	@export $(stage) ROLECALL_E2E=1; $(GO) test -v -count=1 -timeout=60m ./test/apply

.PHONY: faults
faults: control-plane $(if $(RERUN),$(gotestsum)) ## Break what agents stand on; eight tools write while leaders die (minutes)
	@export $(stage) ROLECALL_FAULTS=1; $(call go_test,./test/faults ./test/writers ./test/soak,$(testflags) -parallel=4)

.PHONY: race
race: ## Test everything with the race detector
	@$(MAKE) test RACE=1

.PHONY: soak
soak: control-plane ## Run agents under random faults for SOAK (2m), watching for leaks and races
	@export $(stage) ROLECALL_SOAK="$(SOAK)"; $(GO) test -v -count=1 -timeout=0 -run='^TestSoak$$' ./test/soak

.PHONY: fuzz
fuzz: ## Fuzz each fuzz test for FUZZTIME (30s)
	@grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' $(sort $(wildcard */)) | \
	sed -E 's|/+|/|g; s|^(.*)/[^/]*:func |\1 |' | sort -u | \
	while read -r dir name; do \
		echo "== $$dir $$name"; \
		GO="$(GO)" test/fuzz "$$dir" "$$name" "$(FUZZTIME)" </dev/null || exit 1; \
	done

.PHONY: bench
bench: bin/bench-program control-plane ## Measure cost and speed beside the usual ways, into bin/bench (50 minutes; BENCH=requests,takeover)
	@KUBEBUILDER_ASSETS="$(assets)" bin/bench-program -parts="$(BENCH)" $(BENCH_FLAGS)

.PHONY: bench-small
bench-small: bin/bench-program control-plane ## The same in four minutes: fails where a ratio or a count has gone wrong by far
	@KUBEBUILDER_ASSETS="$(assets)" bin/bench-program -small -parts=document,footprint,requests,iam -out=bin/bench-small

.PHONY: bench-go
bench-go: ## Run the benchmarks of single functions
	@$(call in_modules,$(GO) test -run='^$$' -bench=. -benchmem ./...)

.PHONY: bin/bench-program
bin/bench-program:
	@cd test/bench && $(GO) build -o $(CURDIR)/bin/bench-program .

.PHONY: lint
lint: $(golangci_lint) ## Run the linters (the first time builds them: minutes)
	@$(call in_modules,$(golangci_lint) run ./...)

.PHONY: fmt
fmt: $(golangci_lint) ## Format the Go code
	@$(call in_modules,$(golangci_lint) fmt ./...)

.PHONY: generate
generate: control-plane ## Render what is made of other files: manifests, the chart's copies, the JSON Schema, the version
	@$(GO) test ./config -run='^TestSchemaIsCurrent$$' -update
	@$(GO) test ./manifests/monitoring -run='^TestPrometheusRuleIsTheRules$$' -update
	@cp manifests/monitoring/rules.yaml manifests/monitoring/dashboard.json manifests/overlays/hardened/policies.yaml charts/rolecall/files/
	@{ \
		echo '# Rendered from manifests/base by "make generate": edit there. Applying this file'; \
		echo '# puts the example back into the ConfigMap rolecall; keep your own config in an'; \
		echo '# overlay of the base.'; \
		"$(assets)/kubectl" kustomize manifests/base; \
	} > manifests/install.yaml.tmp || { rm -f manifests/install.yaml.tmp; exit 1; }
	@mv manifests/install.yaml.tmp manifests/install.yaml
	@release/stamp

.PHONY: docs
docs: control-plane ## Write docs/commands and their index anew, with what the commands print
	@export $(stage); $(GO) test -count=1 -run='^TestDocs$$' ./internal/cli -update

.PHONY: pictures
pictures: control-plane ## Take the pictures of docs/images anew, with Chromium
	@export $(stage) ROLECALL_REQUIRE_CHROMIUM=1; cd test/browser; $(GO) test -count=1 -run='^TestPage$$' . -update

.PHONY: dashboard-picture
dashboard-picture: control-plane prometheus ## Draw docs/images/dashboard.svg, with what a real Prometheus sees of agents (minutes)
	@export $(stage); $(GO) test -v -count=1 -run='^TestStory$$' ./test/scraper/picture -update

.PHONY: control-plane
control-plane: ## Build etcd, kube-apiserver and kubectl (the first time: minutes)
	@test/controlplane/build

.PHONY: prometheus
prometheus: ## Build prometheus and promtool (the first time: minutes)
	@test/prometheus/build

.PHONY: authenticator
authenticator: ## Build aws-iam-authenticator (the first time: minutes)
	@test/authenticator/build

.PHONY: image
image: ## Build the container image with CONTAINER_TOOL (docker)
	$(CONTAINER_TOOL) build -t $(IMAGE):$(VERSION) \
		--build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) \
		--build-arg BRANCH=$(BRANCH) --build-arg BUILD_DATE=$(BUILD_DATE) .

.PHONY: release-tools
release-tools: $(goreleaser) $(cyclonedx_gomod) ## Build what releases are built with, and print its folders (the first time: minutes)
	@echo "$(dir $(goreleaser))"
	@echo "$(dir $(cyclonedx_gomod))"

.PHONY: release-check
release-check: $(goreleaser) control-plane ## Check how releases are built, and that all says one version
	@PATH="$(dir $(goreleaser)):$$PATH" $(stage) ROLECALL_REQUIRE_GORELEASER=1 $(GO) test -count=1 ./release

.PHONY: release-dry-run
release-dry-run: $(goreleaser) $(cyclonedx_gomod) control-plane ## Build what a release is made of, twice, into dist/ (PLATFORM=linux/amd64: that one only)
	@PATH="$(dir $(goreleaser)):$(dir $(cyclonedx_gomod)):$(assets):$$PATH" PLATFORM="$(PLATFORM)" release/dry-run

.PHONY: ci
ci: ## Do what CI does
	bash .ci/run

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist .cache

$(golangci_lint):
	@echo "building golangci-lint $(GOLANGCI_LINT_VERSION)"
	@GOBIN="$(@D)" GOFLAGS= nice $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

$(gotestsum):
	@echo "building gotestsum $(GOTESTSUM_VERSION)"
	@GOBIN="$(@D)" GOFLAGS= nice $(GO) install gotest.tools/gotestsum@$(GOTESTSUM_VERSION)

$(goreleaser):
	@echo "building goreleaser $(GORELEASER_VERSION) (once, about 8 minutes on 2 cores)" >&2
	@GOBIN="$(@D)" GOFLAGS= nice $(GO) install github.com/goreleaser/goreleaser/v2@$(GORELEASER_VERSION)

$(cyclonedx_gomod):
	@echo "building cyclonedx-gomod $(CYCLONEDX_GOMOD_VERSION) (once, about a minute)" >&2
	@GOBIN="$(@D)" GOFLAGS= nice $(GO) install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$(CYCLONEDX_GOMOD_VERSION)
