internal import Basics
internal import HTTPTransport
package import ObjectStorage
internal import Sealing
internal import Synchronization

extension S3ObjectStore {
    /// Bytes from which a conditional upload asks before it sends the body: the answer may be no.
    private static let expectContinueBytes = 1 << 20

    package func put(
        _ key: String, _ body: ObjectBody, options: PutOptions
    ) async throws(ObjectStorageError) -> PutReceipt {
        if options.retention != nil { try await requireLock("keep \(key) in \(location) under retention") }
        let content = HTTPBody(body.pieces)
        if content.count > client.configuration.multipartThreshold {
            return try await putInParts(key, content, options)
        }
        var call = try objectCall("store", .put, key)
        call.body = content
        call.headers = objectHeaders(options)
        call.concernsRetention = options.retention != nil
        addCondition(options.condition, to: &call)
        call.expectsContinue = options.condition != .none && content.count >= Self.expectContinueBytes
        let response = try await withLockChecksum(call, options) { call throws(ObjectStorageError) in
            try await self.client.perform(call).response
        }
        return try await receipt(key, response)
    }

    /// Performs an upload with the checksum that is configured or demanded. A server that refuses what Object Lock
    /// demands because it knows only MD5 is asked once more with that, and remembered.
    private func withLockChecksum(
        _ call: S3Call, _ options: PutOptions,
        _ perform: (S3Call) async throws(ObjectStorageError) -> HTTPResponse
    ) async throws(ObjectStorageError) -> HTTPResponse {
        let option = client.configuration.checksum
        guard option == .auto else {
            return try await perform(await withChecksum(call, option))
        }
        guard options.retention != nil else { return try await perform(call) }
        if lockNeedsMD5.withLock({ $0 }) { return try await perform(await withChecksum(call, .md5)) }
        do throws(ObjectStorageError) {
            return try await perform(await withChecksum(call, .sha256))
        } catch {
            guard error.message.contains("MD5"), error.code == .unsupported || error.code == .failed else {
                throw error
            }
            let response = try await perform(await withChecksum(call, .md5))
            lockNeedsMD5.withLock { $0 = true }
            return response
        }
    }

    /// The call with a checksum header over its body.
    func withChecksum(_ call: S3Call, _ option: S3ChecksumOption) async -> S3Call {
        var call = call
        let body = call.body ?? HTTPBody([UInt8]())
        switch option {
        case .auto, .none: break
        case .crc32c:
            call.headers.append(("x-amz-checksum-crc32c", Base64.encode(await PayloadHash.crc32c(body))))
        case .sha256:
            let digest = await PayloadHash.sha256(body).bytes
            call.bodyDigest = digest
            call.headers.append(("x-amz-checksum-sha256", Base64.encode(digest)))
        case .md5:
            call.headers.append(("Content-MD5", Base64.encode(await PayloadHash.md5(body))))
        }
        return call
    }

    /// Headers that describe a new object.
    func objectHeaders(_ options: PutOptions) -> [(name: String, value: String)] {
        let configuration = client.configuration
        var headers: [(name: String, value: String)] = [("Content-Type", "application/octet-stream")]
        if let value = configuration.serverSideEncryption { headers.append(("x-amz-server-side-encryption", value)) }
        if let value = configuration.encryptionKeyID {
            headers.append(("x-amz-server-side-encryption-aws-kms-key-id", value))
        }
        if let value = configuration.storageClass { headers.append(("x-amz-storage-class", value)) }
        if let value = configuration.tagging { headers.append(("x-amz-tagging", value)) }
        if let retention = options.retention {
            headers.append(("x-amz-object-lock-mode", retention.mode.rawValue.uppercased()))
            headers.append(("x-amz-object-lock-retain-until-date", retention.untilText))
        }
        return headers
    }

    /// Adds what the store shall compare.
    func addCondition(_ condition: PutCondition, to call: inout S3Call) {
        switch condition {
        case .none: return
        case .ifAbsent: call.headers.append(("If-None-Match", "*"))
        case .ifTag(let tag): call.headers.append(("If-Match", Self.quoted(tag)))
        }
        // Sent twice, the second would find the first's object and fail.
        call.isReplayable = false
    }

    /// The receipt for an answer; asks for the tag where the answer has none.
    func receipt(_ key: String, _ response: HTTPResponse, tag: String? = nil) async throws(ObjectStorageError)
        -> PutReceipt
    {
        let known = tag ?? Self.tag(response.headers["ETag"] ?? "")
        if !known.isEmpty { return PutReceipt(tag: known, date: client.date(response)) }
        return PutReceipt(tag: try await head(key).tag, date: client.date(response))
    }
}

extension Retention {
    /// The end as S3 writes it, rounded up to a second.
    var untilText: String {
        let isWhole = until.nanoseconds % 1_000_000_000 == 0
        return CalendarTime(Timestamp(seconds: until.seconds + (isWhole ? 0 : 1))).text
    }
}
