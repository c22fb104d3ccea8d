// Package licenses holds the licences of the software that the binary contains, so that the binary
// carries them. collect makes the file.
package licenses

import _ "embed" // the file

// ThirdParty is the text of all licences, and says which module has which.
//
//go:embed THIRD_PARTY_LICENSES
var ThirdParty string
