/// NumPy's files: `.npy` with one array, `.npz` with many in a zip archive.
package enum NumPyFile {
    /// Where the array or arrays lie. An array in Fortran order says so in `attributes`, and one of big-endian numbers.
    ///
    /// Compressed members of an `.npz` have no place, so a compressed archive is complete without tensors. Objects and
    /// records are not supported. Throws only what `source` throws.
    package static func read(
        _ source: any TensorByteSource, limits: TensorFileLimits = TensorFileLimits()
    ) throws -> Finding<TensorLayout> {
        try Finding {
            if try source.prefix(NumPyHeader.magic.count) == NumPyHeader.magic { return try array(source, limits) }
            return try archive(try ZipArchive.parse(source, limits), source, limits)
        }
    }

    private static func array(_ source: any TensorByteSource, _ limits: TensorFileLimits) throws -> TensorLayout {
        let header = try NumPyHeader.read(source, limits)
        let region = try region(header, name: "", size: source.size)
        var attributes: [String: String] = [:]
        if header.isFortran { attributes["order"] = "fortran" }
        if header.isBigEndian { attributes["byteorder"] = "big" }
        return try TensorLayout(format: .npy, size: source.size, regions: [region], attributes: attributes)
    }

    /// The place of the array in a file of `size` bytes. What follows it does not matter to NumPy.
    private static func region(
        _ header: NumPyHeader, name: String, size: UInt64
    ) throws -> TensorLayout.Region {
        guard let elements = TensorDType.elements(of: header.shape),
            let bytes = header.dtype.byteCount(elements: elements)
        else { throw Stop.damaged("the array has an impossible size") }
        let (end, overflow) = header.dataStart.addingReportingOverflow(bytes)
        guard !overflow else { throw Stop.damaged("the array has an impossible size") }
        guard end <= size else {
            throw Stop.truncated("the array ends at byte \(end), the file at byte \(size)", expectedSize: end)
        }
        return TensorLayout.Region(
            name: name, dtype: header.dtype, shape: header.shape, range: header.dataStart..<end)
    }

    static func archive(
        _ archive: ZipArchive, _ source: any TensorByteSource, _ limits: TensorFileLimits
    ) throws -> TensorLayout {
        guard !archive.members.isEmpty, archive.members.allSatisfy({ $0.name.hasSuffix(".npy") }) else {
            throw Stop.notThisFormat("a zip archive of other things than arrays")
        }
        guard archive.members.count <= limits.tensors else {
            throw Stop.unsupported("the archive has more than \(limits.tensors) arrays")
        }
        guard archive.members.allSatisfy({ [0, 8, 12, 14].contains($0.method) }) else {
            throw Stop.unsupported("the archive is compressed in a way that NumPy does not know")
        }
        var regions: [TensorLayout.Region] = []
        for member in archive.members where member.isStored {
            let slice = SourceSlice(source, member.range)
            let name = String(member.name.dropLast(".npy".count))
            var region: TensorLayout.Region
            do {
                region = try Self.region(try NumPyHeader.read(slice, limits), name: name, size: slice.size)
            } catch Stop.notThisFormat {
                throw Stop.damaged("the member \"\(member.name)\" is no array")
            } catch Stop.torn(let evidence) {
                throw Stop.damaged("the member \"\(member.name)\": \(evidence.message)")
            }
            region.range =
                member.range.lowerBound + region.range.lowerBound..<member.range.lowerBound + region.range.upperBound
            regions.append(region)
        }
        return try TensorLayout(format: .npz, size: source.size, regions: regions)
    }
}
