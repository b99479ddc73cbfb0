package runtime

// Every program that a test compiles has its graph checked after each pass.
func init() { checkPasses = true }
