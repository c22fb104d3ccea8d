# syntax=docker/dockerfile:1

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=devel
ENV GOCACHE=/build-cache
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/build-cache \
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /marketflow ./cmd/marketflow

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/LICENSE /src/licenses/THIRD_PARTY_LICENSES /licenses/
COPY --from=build /marketflow /marketflow
USER 65532:65532
EXPOSE 3000
ENTRYPOINT ["/marketflow"]
CMD ["serve"]
