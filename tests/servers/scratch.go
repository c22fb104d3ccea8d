package servers

import (
	"os"
	"syscall"
)

// sharedMemory is Linux's file system in memory for everyone.
const sharedMemory = "/dev/shm"

// ScratchDir is the directory for throw-away data: in memory where Linux has
// room there (a container often has not), else the temporary directory. TMPDIR
// overrules it. A new server and a cloned database make hundreds of files each,
// which some file systems take ten times as long for.
func ScratchDir() string {
	const enough = 1 << 30

	var memory syscall.Statfs_t

	if os.Getenv("TMPDIR") != "" || syscall.Statfs(sharedMemory, &memory) != nil {
		return os.TempDir()
	}

	if memory.Blocks*uint64(memory.Bsize) < enough {
		return os.TempDir()
	}

	return sharedMemory
}
