# docker build --build-arg VERSION=$(git describe --tags --always) -t hookswitch .
# docker run -p 8077:8077 -v ./hookswitch.yaml:/etc/hookswitch/hookswitch.yaml:ro -v hookswitch-data:/data hookswitch
#
# In the mounted file, listen on 0.0.0.0:8077: the default, 127.0.0.1, is the container's own.

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
# Time zones travel inside the binary: working hours need them, and the image below has no files.
RUN CGO_ENABLED=0 go build -trimpath -tags timetzdata -ldflags "-s -w -X main.version=${VERSION}" -o /out/hookswitch ./cmd/hookswitch
RUN mkdir /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/hookswitch /hookswitch
# A number, not a name: there is no /etc/passwd, and Kubernetes' runAsNonRoot wants one.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
WORKDIR /
VOLUME /data
EXPOSE 8077 8078
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/hookswitch", "health", "--url", "http://127.0.0.1:8077/readyz"]
ENTRYPOINT ["/hookswitch"]
CMD ["serve", "-c", "/etc/hookswitch/hookswitch.yaml"]
