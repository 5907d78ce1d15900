/// Any file of tensors, told by its first bytes.
package enum TensorFile {
    /// Where the tensors lie in a file that holds them itself.
    ///
    /// For a file of another kind this reads 24 bytes and says `notThisFormat`. A data file of a distributed checkpoint
    /// gets names like `item 0`; `DistributedDataFile` gives the true ones with the checkpoint's metadata. Throws only
    /// what `source` throws.
    package static func layout(
        _ source: any TensorByteSource, limits: TensorFileLimits = TensorFileLimits()
    ) throws -> Finding<TensorLayout> {
        try Finding {
            let start = try source.prefix(TorchLegacyFile.magic.count)
            if start.starts(with: "GGUF".utf8) { return try GGUFFile.read(source, limits: limits).get() }
            if start.starts(with: NumPyHeader.magic) { return try NumPyFile.read(source, limits: limits).get() }
            if start == TorchLegacyFile.magic { return try TorchLegacyFile.parse(source, limits).layout }
            if start.starts(with: ZipArchive.localSignature) { return try zip(source, limits) }
            return try SafetensorsFile.read(source, limits: limits).get()
        }
    }

    private static func zip(_ source: any TensorByteSource, _ limits: TensorFileLimits) throws -> TensorLayout {
        if let start = try ZipDirectory.start(ofArchiveEndingAt: source.size, in: source), start > 0,
            try source.bytes(at: start, count: 4) == ZipArchive.localSignature
        {
            return try DistributedDataFile.read(source, limits: limits).get()
        }
        let archive: ZipArchive
        do {
            archive = try ZipArchive.parse(source, limits)
        } catch Stop.torn(let evidence) {
            if try ZipArchive.firstName(source)?.hasSuffix(".npy") == true { throw Stop.torn(evidence) }
            return try TorchFile.torn(source, evidence)
        }
        do {
            return try TorchFile.parse(archive, source, limits).layout
        } catch Stop.notThisFormat {
            return try NumPyFile.archive(archive, source, limits)
        }
    }
}
