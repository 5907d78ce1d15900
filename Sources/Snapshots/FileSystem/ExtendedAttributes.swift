internal import CFileSystemShims
internal import RepositoryFormat
internal import SystemPackage

/// Reads the extended attributes of an entry or of an open file (xattr(7)).
enum ExtendedAttributes {
    /// The kernel's own limits on a list of names and on a value (XATTR_LIST_MAX, XATTR_SIZE_MAX, limits.h).
    private static let maximumBytes = 64 << 10
    /// Most lists and values fit on the stack: an ACL of a few entries and a capability set are under 100 bytes.
    private static let firstTryBytes = 1024

    /// What a system call answered: bytes or an errno.
    private enum Answer {
        case bytes([UInt8])
        case failure(Errno)
    }

    /// The attributes of the entry `name` of `directory`, or of `directory` itself without a name; sorted by name. None
    /// where the file system has no attributes. One system call when there are none. A value that went away between
    /// being listed and being read is left out. Throws the errno of the call that failed.
    static func read(_ descriptor: CInt, _ name: UnsafePointer<CChar>?) throws(Errno) -> [ExtendedAttribute] {
        let names = try list(descriptor, name)
        var attributes: [ExtendedAttribute] = []
        attributes.reserveCapacity(names.count)
        for attribute in names {
            let answer = EntryName.withTerminated(attribute) { attributeName in
                grow { fs_attribute_get(descriptor, name, attributeName, $0.baseAddress, $0.count) }
            }
            switch answer {
            case .bytes(let value): attributes.append(ExtendedAttribute(name: attribute, value: value))
            case .failure(.noData): continue
            case .failure(let errno): throw errno
            }
        }
        return attributes
    }

    /// Names of the attributes, sorted; none where the file system has no attributes.
    static func list(_ descriptor: CInt, _ name: UnsafePointer<CChar>?) throws(Errno) -> [[UInt8]] {
        switch grow({ fs_attribute_list(descriptor, name, $0.baseAddress, $0.count) }) {
        case .bytes(let text):
            if text.isEmpty { return [] }
            return text.split(separator: 0).map(Array.init).sorted { $0.lexicographicallyPrecedes($1) }
        case .failure(.notSupported), .failure(.noFunction): return []
        case .failure(let errno): throw errno
        }
    }

    /// Calls with a small buffer, and with the largest that makes sense when that is too small.
    private static func grow(_ call: (UnsafeMutableRawBufferPointer) -> Int64) -> Answer {
        for size in [firstTryBytes, maximumBytes] {
            let answer = withUnsafeTemporaryAllocation(byteCount: size, alignment: 8) { buffer -> Answer in
                let count = call(buffer)
                if count < 0 { return .failure(Errno(rawValue: CInt(-count))) }
                return .bytes(Array(buffer[..<Int(count)]))
            }
            if case .failure(.outOfRange) = answer, size < maximumBytes { continue }
            return answer
        }
        return .failure(.outOfRange)
    }
}
