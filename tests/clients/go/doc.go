// Package client is generated from api/openapi.yaml by oapi-codegen. Its test calls a
// running service with it. It is a separate module, because the service needs neither
// the generator nor its runtime.
package client

//go:generate go tool oapi-codegen -config config.yaml ../../../api/openapi.yaml
