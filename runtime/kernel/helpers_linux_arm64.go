package kernel

import "syscall"

const sysGetcpu = syscall.SYS_GETCPU
