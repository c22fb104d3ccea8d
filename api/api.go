// Package api carries the public contract.
package api

import _ "embed"

// OpenAPI is the service's OpenAPI 3 description.
//
//go:embed openapi.yaml
var OpenAPI []byte
