// Package client is what oapi-codegen makes of api/openapi.yaml. Its test holds a
// running service against it. It is a module of its own: the service needs neither
// the generator nor its runtime.
package client

//go:generate go tool oapi-codegen -config config.yaml ../../../api/openapi.yaml
