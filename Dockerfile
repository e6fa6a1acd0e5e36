# Both images can be replaced: BUILD_IMAGE by any with Go, RUNTIME_IMAGE by any
# base, "scratch" too, since the binary is static and brings what it needs.
ARG BUILD_IMAGE=golang:1.26
ARG RUNTIME_IMAGE=gcr.io/distroless/static-debian12:nonroot

# Go cross-compiles: the build runs on the builder's own platform.
FROM --platform=$BUILDPLATFORM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod \
    go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=unknown
ARG REVISION=unknown
ARG BRANCH=unknown
ARG BUILD_DATE=unknown
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -buildvcs=false -o /out/rolecall -ldflags "-s -w \
      -X github.com/prometheus/common/version.Version=${VERSION} \
      -X github.com/prometheus/common/version.Revision=${REVISION} \
      -X github.com/prometheus/common/version.Branch=${BRANCH} \
      -X github.com/prometheus/common/version.BuildDate=${BUILD_DATE}" \
      ./cmd/rolecall

FROM ${RUNTIME_IMAGE}
# The roots by which AWS's certificates are checked; "scratch" has none.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/rolecall /rolecall
# By number: the kubelet can't tell that a named user isn't root.
USER 65532:65532
EXPOSE 9465
ENTRYPOINT ["/rolecall"]
CMD ["agent"]
