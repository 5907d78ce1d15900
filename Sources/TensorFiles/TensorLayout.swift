/// Where the tensors of a file lie.
package struct TensorLayout: Sendable {
    /// The format of a file.
    package enum Format: String, Hashable, Sendable {
        case safetensors
        case gguf
        /// A zip archive as `torch.save` writes it.
        case torch
        /// What `torch.save` wrote before version 1.6.
        case torchLegacy = "torch-legacy"
        /// A data file of PyTorch's distributed checkpoints: many torch archives one after the other.
        case distributed = "distcp"
        case npy
        case npz
    }

    /// A tensor and its place. Where tensors share memory (tied weights, views), this is the memory, under the name of
    /// the first of them.
    package struct Region: Hashable, Sendable {
        package var name: String
        package var dtype: TensorDType
        package var shape: [UInt64]
        /// Bytes from the file's start.
        package var range: Range<UInt64>

        package init(name: String, dtype: TensorDType, shape: [UInt64], range: Range<UInt64>) {
            self.name = name
            self.dtype = dtype
            self.shape = shape
            self.range = range
        }

        /// Bytes of the tensor.
        package var byteCount: UInt64 { range.upperBound - range.lowerBound }
        /// Elements of the tensor.
        package var elements: UInt64 { TensorDType.elements(of: shape) ?? 0 }
    }

    /// What the tensors of one type come to.
    package struct Total: Hashable, Sendable {
        package var dtype: TensorDType
        package var tensors: Int
        package var elements: UInt64
        package var bytes: UInt64

        package init(dtype: TensorDType, tensors: Int, elements: UInt64, bytes: UInt64) {
            self.dtype = dtype
            self.tensors = tensors
            self.elements = elements
            self.bytes = bytes
        }
    }

    /// The file's place in a set of files that only together are a model.
    package struct Part: Hashable, Sendable {
        /// From 0.
        package var number: UInt64
        package var count: UInt64
        /// Tensors in all parts together, where the file says so.
        package var tensors: UInt64?
    }

    package let format: Format
    /// Bytes in the file.
    package let size: UInt64
    /// In the order of the file; none overlaps another; all within the file. An empty tensor has an empty range.
    package let regions: [Region]
    /// Short facts that the file tells about itself, such as `general.architecture` of a GGUF file.
    package let attributes: [String: String]
    /// Set when the file says that it is one of several.
    package let part: Part?

    /// Throws `Stop` when regions overlap or leave the file.
    init(
        format: Format, size: UInt64, regions: [Region], attributes: [String: String] = [:], part: Part? = nil
    ) throws {
        self.format = format
        self.size = size
        self.attributes = attributes
        self.part = part
        self.regions = regions.sorted {
            ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
        }
        var end: UInt64 = 0
        for region in self.regions {
            guard region.range.lowerBound >= end else {
                throw Stop.damaged("the tensor \"\(region.name)\" overlaps the one before it")
            }
            end = region.range.upperBound
        }
        guard end <= size else {
            throw Stop.truncated("the last tensor ends at byte \(end), the file at byte \(size)", expectedSize: end)
        }
    }

    /// What lies between the tensors, in the file's order: headers, directories, padding. With the regions it is the
    /// whole file.
    package var metadata: [Range<UInt64>] {
        var gaps: [Range<UInt64>] = []
        var end: UInt64 = 0
        for region in regions {
            if region.range.lowerBound > end { gaps.append(end..<region.range.lowerBound) }
            end = region.range.upperBound
        }
        if end < size { gaps.append(end..<size) }
        return gaps
    }

    /// Elements of all tensors: what people call the number of parameters.
    package var parameters: UInt64 { regions.reduce(0) { $0 &+ $1.elements } }

    /// The sums by type, the one with the most bytes first, then by name.
    package var totals: [Total] {
        var totals: [TensorDType: Total] = [:]
        for region in regions {
            var total =
                totals[region.dtype] ?? Total(dtype: region.dtype, tensors: 0, elements: 0, bytes: 0)
            total.tensors += 1
            total.elements &+= region.elements
            total.bytes += region.byteCount
            totals[region.dtype] = total
        }
        return totals.values.sorted { ($1.bytes, $0.dtype.name) < ($0.bytes, $1.dtype.name) }
    }
}
