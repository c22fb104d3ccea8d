module github.com/marketflow/marketflow/sandbox/clients/go

go 1.26.0

require (
	github.com/google/uuid v1.6.0
	github.com/stretchr/testify v1.12.1
	github.com/stripe/stripe-go/v76 v76.25.0
	github.com/stripe/stripe-go/v85 v85.0.0
)

require go.yaml.in/yaml/v3 v3.0.5 // indirect
