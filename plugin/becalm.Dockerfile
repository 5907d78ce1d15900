# syntax=docker/dockerfile:1
# The image of the `becalm` command, for movers and for the CronJob of `examples/resume-expired.yaml`: one static executable
# and the authorities that it believes.
#
#     docker build --file plugin/becalm.Dockerfile --tag REGISTRY/becalm:VERSION .
#
# builds it from source. With an executable that `make static PRODUCT=becalm` has made already:
#
#     docker build --file plugin/becalm.Dockerfile --build-context built=.build-static --tag REGISTRY/becalm:VERSION .

# Any image with a Swift 6.3 toolchain on Debian 12 or newer.
ARG SWIFT_IMAGE=swift:6.3-bookworm
FROM ${SWIFT_IMAGE} AS source
# With the newest fixes of the libraries that go in.
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
    binutils dpkg-dev g++ libc-ares-dev libc6-dev libcurl4-openssl-dev libssl-dev libzstd-dev make patch pkg-config \
    python3 python3-venv zlib1g-dev acl attr libcap2-bin strace
WORKDIR /becalm
COPY . .
RUN plugin/build becalm

FROM scratch AS built
COPY --from=source /becalm/.build-static/becalm /becalm/.build-static/becalm.libraries \
    /becalm/.build-static/becalm.notices /

FROM debian:bookworm-slim AS authorities
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates

FROM scratch
COPY --from=built --chmod=755 /becalm /usr/local/bin/becalm
COPY --from=authorities /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=built --chmod=644 /becalm.notices /NOTICES
COPY --from=built --chmod=644 /becalm.libraries /LIBRARIES
COPY --chmod=644 LICENSE /LICENSE
LABEL org.opencontainers.image.title="becalm" \
    org.opencontainers.image.description="Backup, restore and standstill of stateful AI workloads" \
    org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/usr/local/bin
# Movers ask for root and the few capabilities that reading everybody's files takes; everything else runs without.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/becalm"]
