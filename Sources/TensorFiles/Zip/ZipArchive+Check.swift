extension ZipArchive {
    /// What reading all of an archive's bytes found out.
    package struct ContentCheck: Hashable, Sendable {
        /// Members whose bytes have the recorded checksum.
        package var matching = 0
        /// Names of those whose bytes have another.
        package var mismatching: [String] = []
        /// Members that were not read, because they are compressed.
        package var unchecked = 0
        /// Whether the archive was written without checksums: all are zero, and nothing can be said.
        package var isWithoutChecksums = false
    }

    /// Reads every stored member and compares its checksum. Takes as long as reading the file does.
    ///
    /// - Parameters:
    ///   - source: what the archive was read from.
    ///   - progress: told the bytes read since the last call; what it throws, `CancellationError` say, ends the check.
    /// - Returns: the counts; `unsupported` when the source is not what it was.
    package func checkContent(
        _ source: any TensorByteSource, progress: (Int) throws -> Void = { _ in }
    ) throws -> Finding<ContentCheck> {
        try Finding { try content(source, progress) }
    }

    private func content(_ source: any TensorByteSource, _ progress: (Int) throws -> Void) throws -> ContentCheck {
        var check = ContentCheck()
        guard members.contains(where: { $0.crc != 0 }) else {
            check.isWithoutChecksums = members.contains { !$0.range.isEmpty }
            return check
        }
        guard source.size == size else { throw Stop.unsupported("the file changed since its directory was read") }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 4096)
        defer { buffer.deallocate() }
        for member in members {
            guard member.isStored else {
                check.unchecked += 1
                continue
            }
            var crc = CRC32()
            var offset = member.range.lowerBound
            while offset < member.range.upperBound {
                let part = buffer[..<Int(min(UInt64(buffer.count), member.range.upperBound - offset))]
                try source.fill(UnsafeMutableRawBufferPointer(rebasing: part), at: offset)
                crc.update(UnsafeRawBufferPointer(rebasing: part))
                offset += UInt64(part.count)
                try progress(part.count)
            }
            if crc.value == member.crc {
                check.matching += 1
            } else {
                check.mismatching.append(member.name)
            }
        }
        return check
    }
}
