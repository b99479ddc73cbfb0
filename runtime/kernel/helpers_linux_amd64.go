package kernel

// sysGetcpu is the number of getcpu(2), which package syscall lacks for this architecture.
const sysGetcpu = 309
