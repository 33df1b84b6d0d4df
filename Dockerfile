FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /presencelog ./cmd/presencelog \
    && mkdir /data

# The image has no PostgreSQL: DATABASE_URL must name one.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /presencelog /presencelog
# A new volume gets the owner of this directory.
COPY --from=build --chown=65532:65532 /data /var/lib/presencelog
ENV PRESENCELOG_LISTEN=0.0.0.0:8080 PRESENCELOG_DATA_DIR=/var/lib/presencelog
VOLUME /var/lib/presencelog
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/presencelog", "healthcheck"]
ENTRYPOINT ["/presencelog"]
CMD ["serve"]
