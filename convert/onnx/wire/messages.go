package wire

// The messages have the fields of onnx.proto without the Proto of their names;
// what that says of them holds here. An optional field that is not there is nil.

// Model is a whole file: ModelProto.
type Model struct {
	IrVersion       *int64
	ProducerName    *string
	ProducerVersion *string
	Domain          *string
	ModelVersion    *int64
	DocString       *string
	Graph           *Graph
	OpsetImport     []*OperatorSetID
	MetadataProps   []*StringStringEntry
	TrainingInfo    []*TrainingInfo
	Functions       []*Function
	Configuration   [][]byte // DeviceConfigurationProto
	Unknown         []byte
}

func (m *Model) fields(c *coder) {
	number(c, 1, &m.IrVersion)
	c.text(2, &m.ProducerName)
	c.text(3, &m.ProducerVersion)
	c.text(4, &m.Domain)
	number(c, 5, &m.ModelVersion)
	c.text(6, &m.DocString)
	one(c, 7, &m.Graph)
	many(c, 8, &m.OpsetImport)
	many(c, 14, &m.MetadataProps)
	many(c, 20, &m.TrainingInfo)
	many(c, 25, &m.Functions)
	c.blobs(26, &m.Configuration)
	c.unknown(&m.Unknown)
}

// OperatorSetID is a version of the operators of a domain.
type OperatorSetID struct {
	Domain  *string
	Version *int64
	Unknown []byte
}

func (m *OperatorSetID) fields(c *coder) {
	c.text(1, &m.Domain)
	number(c, 2, &m.Version)
	c.unknown(&m.Unknown)
}

// StringStringEntry is an entry of a map.
type StringStringEntry struct {
	Key     *string
	Value   *string
	Unknown []byte
}

func (m *StringStringEntry) fields(c *coder) {
	c.text(1, &m.Key)
	c.text(2, &m.Value)
	c.unknown(&m.Unknown)
}

// TrainingInfo is graphs for training, which are kept and not run.
type TrainingInfo struct {
	Initialization        *Graph
	Algorithm             *Graph
	InitializationBinding [][]byte // StringStringEntryProto
	UpdateBinding         [][]byte // StringStringEntryProto
	Unknown               []byte
}

func (m *TrainingInfo) fields(c *coder) {
	one(c, 1, &m.Initialization)
	one(c, 2, &m.Algorithm)
	c.blobs(3, &m.InitializationBinding)
	c.blobs(4, &m.UpdateBinding)
	c.unknown(&m.Unknown)
}

// Graph is GraphProto.
type Graph struct {
	Node                   []*Node
	Name                   *string
	Initializer            []*Tensor
	DocString              *string
	Input                  []*ValueInfo
	Output                 []*ValueInfo
	ValueInfo              []*ValueInfo
	QuantizationAnnotation []*TensorAnnotation
	SparseInitializer      []*SparseTensor
	MetadataProps          [][]byte // StringStringEntryProto
	Unknown                []byte
}

func (m *Graph) fields(c *coder) {
	many(c, 1, &m.Node)
	c.text(2, &m.Name)
	many(c, 5, &m.Initializer)
	c.text(10, &m.DocString)
	many(c, 11, &m.Input)
	many(c, 12, &m.Output)
	many(c, 13, &m.ValueInfo)
	many(c, 14, &m.QuantizationAnnotation)
	many(c, 15, &m.SparseInitializer)
	c.blobs(16, &m.MetadataProps)
	c.unknown(&m.Unknown)
}

// Node is NodeProto.
type Node struct {
	Input                []string
	Output               []string
	Name                 *string
	OpType               *string
	Attribute            []*Attribute
	DocString            *string
	Domain               *string
	Overload             *string
	MetadataProps        [][]byte // StringStringEntryProto
	DeviceConfigurations [][]byte // NodeDeviceConfigurationProto
	Unknown              []byte
}

func (m *Node) fields(c *coder) {
	c.texts(1, &m.Input)
	c.texts(2, &m.Output)
	c.text(3, &m.Name)
	c.text(4, &m.OpType)
	many(c, 5, &m.Attribute)
	c.text(6, &m.DocString)
	c.text(7, &m.Domain)
	c.text(8, &m.Overload)
	c.blobs(9, &m.MetadataProps)
	c.blobs(10, &m.DeviceConfigurations)
	c.unknown(&m.Unknown)
}

// Attribute is AttributeProto.
type Attribute struct {
	Name          *string
	F             *float32
	I             *int64
	S             []byte
	T             *Tensor
	G             *Graph
	Floats        []float32
	Ints          []int64
	Strings       [][]byte
	Tensors       []*Tensor
	Graphs        []*Graph
	DocString     *string
	Tp            *Type
	TypeProtos    [][]byte // TypeProto
	Type          *int32   // AttributeProto.AttributeType
	RefAttrName   *string
	SparseTensor  *SparseTensor
	SparseTensors []*SparseTensor
	Unknown       []byte
}

func (m *Attribute) fields(c *coder) {
	c.text(1, &m.Name)
	c.float(2, &m.F)
	number(c, 3, &m.I)
	c.bytes(4, &m.S)
	one(c, 5, &m.T)
	one(c, 6, &m.G)
	fixed(c, 7, false, &m.Floats)
	integers(c, 8, false, &m.Ints)
	c.blobs(9, &m.Strings)
	many(c, 10, &m.Tensors)
	many(c, 11, &m.Graphs)
	c.text(13, &m.DocString)
	one(c, 14, &m.Tp)
	c.blobs(15, &m.TypeProtos)
	number(c, 20, &m.Type)
	c.text(21, &m.RefAttrName)
	one(c, 22, &m.SparseTensor)
	many(c, 23, &m.SparseTensors)
	c.unknown(&m.Unknown)
}

// Function is FunctionProto.
type Function struct {
	Name           *string
	Input          []string
	Output         []string
	Attribute      []string
	Node           []*Node
	DocString      *string
	OpsetImport    []*OperatorSetID
	Domain         *string
	AttributeProto []*Attribute
	ValueInfo      []*ValueInfo
	Overload       *string
	MetadataProps  [][]byte // StringStringEntryProto
	Unknown        []byte
}

func (m *Function) fields(c *coder) {
	c.text(1, &m.Name)
	c.texts(4, &m.Input)
	c.texts(5, &m.Output)
	c.texts(6, &m.Attribute)
	many(c, 7, &m.Node)
	c.text(8, &m.DocString)
	many(c, 9, &m.OpsetImport)
	c.text(10, &m.Domain)
	many(c, 11, &m.AttributeProto)
	many(c, 12, &m.ValueInfo)
	c.text(13, &m.Overload)
	c.blobs(14, &m.MetadataProps)
	c.unknown(&m.Unknown)
}

// TensorAnnotation says how a tensor is quantized.
type TensorAnnotation struct {
	TensorName                *string
	QuantParameterTensorNames [][]byte // StringStringEntryProto
	Unknown                   []byte
}

func (m *TensorAnnotation) fields(c *coder) {
	c.text(1, &m.TensorName)
	c.blobs(2, &m.QuantParameterTensorNames)
	c.unknown(&m.Unknown)
}

// Tensor is TensorProto.
type Tensor struct {
	Dims          []int64
	DataType      *int32
	Segment       [][]byte // Segment
	FloatData     []float32
	Int32Data     []int32
	StringData    [][]byte
	Int64Data     []int64
	Name          *string
	RawData       []byte // shares the input's memory where it is long
	DoubleData    []float64
	Uint64Data    []uint64
	DocString     *string
	ExternalData  []*StringStringEntry
	DataLocation  *int32 // TensorProto.DataLocation
	MetadataProps [][]byte
	Unknown       []byte
}

// External is the DataLocation of a tensor whose elements are in another file.
const External int32 = 1

func (m *Tensor) fields(c *coder) {
	integers(c, 1, false, &m.Dims)
	number(c, 2, &m.DataType)
	c.blobs(3, &m.Segment)
	fixed(c, 4, true, &m.FloatData)
	integers(c, 5, true, &m.Int32Data)
	c.blobs(6, &m.StringData)
	integers(c, 7, true, &m.Int64Data)
	c.text(8, &m.Name)
	c.large(9, &m.RawData)
	fixed(c, 10, true, &m.DoubleData)
	integers(c, 11, true, &m.Uint64Data)
	c.text(12, &m.DocString)
	many(c, 13, &m.ExternalData)
	number(c, 14, &m.DataLocation)
	c.blobs(16, &m.MetadataProps)
	c.unknown(&m.Unknown)
}

// SparseTensor is SparseTensorProto.
type SparseTensor struct {
	Values  *Tensor
	Indices *Tensor
	Dims    []int64
	Unknown []byte
}

func (m *SparseTensor) fields(c *coder) {
	one(c, 1, &m.Values)
	one(c, 2, &m.Indices)
	integers(c, 3, false, &m.Dims)
	c.unknown(&m.Unknown)
}

// Sequence is SequenceProto, the content of a file of test data.
type Sequence struct {
	Name               *string
	ElemType           *int32
	TensorValues       []*Tensor
	SparseTensorValues []*SparseTensor
	SequenceValues     []*Sequence
	MapValues          [][]byte // MapProto
	OptionalValues     []*Optional
	Unknown            []byte
}

func (m *Sequence) fields(c *coder) {
	c.text(1, &m.Name)
	number(c, 2, &m.ElemType)
	many(c, 3, &m.TensorValues)
	many(c, 4, &m.SparseTensorValues)
	many(c, 5, &m.SequenceValues)
	c.blobs(6, &m.MapValues)
	many(c, 7, &m.OptionalValues)
	c.unknown(&m.Unknown)
}

// Optional is OptionalProto.
type Optional struct {
	Name              *string
	ElemType          *int32
	TensorValue       *Tensor
	SparseTensorValue *SparseTensor
	SequenceValue     *Sequence
	MapValue          [][]byte // MapProto
	OptionalValue     *Optional
	Unknown           []byte
}

func (m *Optional) fields(c *coder) {
	c.text(1, &m.Name)
	number(c, 2, &m.ElemType)
	one(c, 3, &m.TensorValue)
	one(c, 4, &m.SparseTensorValue)
	one(c, 5, &m.SequenceValue)
	c.blobs(6, &m.MapValue)
	one(c, 7, &m.OptionalValue)
	c.unknown(&m.Unknown)
}
