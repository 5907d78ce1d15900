/// An object that is decrypted on its way from the store.
actor OpeningDownload: ObjectDownload {
    private let base: any ObjectDownload
    private let name: String
    private var opener: ObjectOpener
    /// What was read to see what it is, without the header.
    private var first: [UInt8]?
    private var isAtEnd = false

    init(_ base: any ObjectDownload, _ opener: ObjectOpener, first: [UInt8], name: String) {
        self.base = base
        self.opener = opener
        self.first = first
        self.name = name
    }

    func next() async throws(VeleroError) -> [UInt8]? {
        while !isAtEnd {
            let sealed: [UInt8]?
            if let first {
                sealed = first
                self.first = nil
            } else {
                sealed = try await base.next()
            }
            let text: [UInt8]
            do throws(SealedObjectError) {
                if let sealed {
                    text = try opener.append(sealed)
                } else {
                    isAtEnd = true
                    text = try opener.finish()
                }
            } catch {
                isAtEnd = true
                await base.close()
                throw VeleroError(error, object: name)
            }
            if !text.isEmpty { return text }
        }
        return nil
    }

    func close() async {
        isAtEnd = true
        await base.close()
    }
}

/// An object whose first piece was read already.
actor ResumedDownload: ObjectDownload {
    private let base: any ObjectDownload
    private var first: [UInt8]?

    init(_ base: any ObjectDownload, first: [UInt8]?) {
        self.base = base
        self.first = first
    }

    func next() async throws(VeleroError) -> [UInt8]? {
        if let first {
            self.first = nil
            return first
        }
        return try await base.next()
    }

    func close() async {
        first = nil
        await base.close()
    }
}
