package finetune

// A History is what happened in a run.
type History struct {
	StartLoss   *float64 `json:"start_loss"` // on the hold-out; nil where there is none
	StartMetric *float64 `json:"start_metric"`
	Epochs      []Epoch  `json:"epochs"`
	BestEpoch   int      `json:"best_epoch"` // of the model that came out; 0 is the start
	BestLoss    *float64 `json:"best_loss"`
	BestMetric  *float64 `json:"best_metric"`
	// SamplesPerSecond is over the training steps alone, without evaluation.
	SamplesPerSecond float64 `json:"samples_per_second"`
	Train            int     `json:"train_samples"`
	Holdout          int     `json:"holdout_samples"`
	Metric           string  `json:"metric"` // what it is: accuracy, agreement or r2
	Loss             string  `json:"loss"`   // the terms and their factors
	Weights          int     `json:"trained_weights"`
	Params           int64   `json:"trained_params"`
}

// An Epoch is one pass over the training data.
type Epoch struct {
	Epoch       int      `json:"epoch"` // from 1
	TrainLoss   float64  `json:"train_loss"`
	TrainMetric *float64 `json:"train_metric"` // over the epoch's steps; nil where it is no number
	HoldoutLoss *float64 `json:"holdout_loss"`
	Metric      *float64 `json:"metric"`
	LR          float64  `json:"lr"` // at its end
	Seconds     float64  `json:"seconds"`
}

// A Progress says how far a run is.
type Progress struct {
	Step, Steps      int
	Epoch, Epochs    int      // the present one, from 1
	Ended            int      // the epoch that has just been evaluated; 0: none
	Loss             float64  // a running mean
	Metric           *float64 // the last on the hold-out
	SamplesPerSecond float64
	// Prepared counts the samples, of Samples, that the teacher has seen before
	// the first step.
	Prepared, Samples int
}
