// Package finetune trains a model's constants by gradients: against targets,
// against the outputs of another model (the original of a compressed one), or
// both. It trains the model's own graph, so that what is trained is what is
// written.
//
// New prepares a Trainer, Run trains. Some of the data is held out; what Run
// gives back is the best state there, of which the start is one. A run depends
// on its options, models and data alone: neither the number of threads nor an
// interruption (see Checkpoint) changes a bit of the result.
//
// Which constants are weights, and of which kind, is found from what reads them
// (weights.go). Balanced factors of a bilinear layer take larger steps than
// dense weights, by one rule (rates.go). What the loss is made of is decided
// from what is there, labels, a teacher or both (objective.go).
package finetune
