package import Basics
internal import HTTPTransport
internal import Logging
package import ObjectStorage

/// Uploads in parts, for bodies too large for one request.
extension S3ObjectStore {
    /// S3's limit.
    static let maximumParts = 10_000
    /// Seconds that a server may think without a word while it puts parts together.
    private static let completionStallSeconds = 300

    /// Sends the body in parts, some at a time, and puts them together under `options.condition`.
    ///
    /// A failure aborts the upload, unless it may have been completed or the task is cancelled, when no request may
    /// start any more: `abortStaleUploads` removes what such a one leaves.
    func putInParts(
        _ key: String, _ body: HTTPBody, _ options: PutOptions
    ) async throws(ObjectStorageError) -> PutReceipt {
        let upload = try await beginUpload(key, options)
        do throws(ObjectStorageError) {
            let parts = try await sendParts(key, upload, body)
            return try await completeUpload(key, upload, parts, options)
        } catch {
            if error.code != .cancelled && !error.isAmbiguous { await abandonUpload(key, upload) }
            throw error
        }
    }

    /// Begins an upload in parts; answers its id. Throws what `put` throws.
    func beginUpload(_ key: String, _ options: PutOptions) async throws(ObjectStorageError) -> String {
        var call = try objectCall("begin the upload of", .post, key)
        call.query = [("uploads", "")]
        call.body = HTTPBody([UInt8]())
        call.headers = objectHeaders(options)
        call.concernsRetention = options.retention != nil
        switch client.configuration.checksum {
        case .crc32, .crc32c, .sha1, .sha256:
            call.headers.append(("x-amz-checksum-algorithm", client.configuration.checksum.rawValue.uppercased()))
        case .auto, .md5, .none: break
        }
        let (response, bytes) = try await client.perform(call)
        guard let id = try document(bytes, call)["UploadId"]?.text, !id.isEmpty, response.isSuccess else {
            throw ObjectStorageError(
                .unavailable, "\(call.failing(client.configuration.location)): the server names no upload")
        }
        return id
    }

    /// A part that has arrived.
    struct Part: Sendable {
        let number: Int
        let tag: String
        /// The checksum element for the completion, name and value.
        let checksum: (name: String, value: String)?
    }

    private func sendParts(
        _ key: String, _ upload: String, _ body: HTTPBody
    ) async throws(ObjectStorageError) -> [Part] {
        let minimum = (body.count + Self.maximumParts - 1) / Self.maximumParts
        let pieces = body.split(max(client.configuration.partBytes, minimum))
        let concurrency = max(1, client.configuration.partConcurrency)
        let result = await withTaskGroup(of: Result<Part, ObjectStorageError>.self) { group in
            var parts: [Part] = []
            var next = 0
            while next < min(concurrency, pieces.count) {
                let number = next + 1
                group.addTask { await self.sendPart(key, upload, number, pieces[number - 1]) }
                next += 1
            }
            while let result = await group.next() {
                switch result {
                case .failure(let error):
                    group.cancelAll()
                    return Result<[Part], ObjectStorageError>.failure(error)
                case .success(let part): parts.append(part)
                }
                if next < pieces.count {
                    let number = next + 1
                    group.addTask { await self.sendPart(key, upload, number, pieces[number - 1]) }
                    next += 1
                }
            }
            return .success(parts.sorted { $0.number < $1.number })
        }
        return try result.get()
    }

    /// Sends part `number`, from 1.
    func sendPart(
        _ key: String, _ upload: String, _ number: Int, _ body: HTTPBody
    ) async -> Result<Part, ObjectStorageError> {
        do throws(ObjectStorageError) {
            var call = try objectCall("store part \(number) of", .put, key)
            call.query = [("partNumber", String(number)), ("uploadId", upload)]
            call.body = body
            call.headers = client.configuration.customerKey?.headers ?? []
            call = await withChecksum(call, client.configuration.checksum)
            let checksum = call.headers.first { $0.name.hasPrefix("x-amz-checksum-") }.map { header in
                (name: "Checksum" + header.name.dropFirst("x-amz-checksum-".count).uppercased(), value: header.value)
            }
            let (response, _) = try await client.perform(call)
            guard let tag = response.headers["ETag"], !tag.isEmpty else {
                throw ObjectStorageError(
                    .unavailable, "\(call.failing(client.configuration.location)): the server gives the part no tag")
            }
            return .success(Part(number: number, tag: Self.tag(tag), checksum: checksum))
        } catch {
            // A part that may have arrived is no object yet.
            var error = error
            error.isAmbiguous = false
            return .failure(error)
        }
    }

    /// Makes an object of parts that have arrived, in order. An error of code `.notFound` may mean that it was done before.
    func completeUpload(
        _ key: String, _ upload: String, _ parts: [Part], _ options: PutOptions
    ) async throws(ObjectStorageError) -> PutReceipt {
        var call = try objectCall("complete the upload of", .post, key)
        call.query = [("uploadId", upload)]
        call.stallSeconds = Self.completionStallSeconds
        call.headers = client.configuration.customerKey?.headers ?? []
        var text = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
        for part in parts {
            let checksum = part.checksum.map { "<\($0.name)>\($0.value)</\($0.name)>" } ?? ""
            text += "<Part><PartNumber>\(part.number)</PartNumber>"
            text += "<ETag>&quot;\(Self.escaped(part.tag))&quot;</ETag>\(checksum)</Part>"
        }
        call.body = HTTPBody(Array("\(text)</CompleteMultipartUpload>".utf8))
        call.headers.append(("Content-Type", "application/xml"))
        let (response, bytes) = try await withCondition(options.condition, key, call) {
            call throws(ObjectStorageError) in
            var call = call
            call.isReplayable = false
            return try await self.client.perform(call)
        }
        let answer = try document(bytes, call)
        guard answer.name != "Error" else {
            // The status is sent before the work is done: 200, and then it may fail. Treated as the server's failure.
            var late = response
            late.status = answer["Code"]?.text == "SlowDown" ? 503 : 500
            throw S3Failure(late, document: bytes).error(
                for: call, at: client.configuration.location, credentials: credentialSource.description)
        }
        return try await receipt(key, response, tag: Self.tag(answer["ETag"]?.text ?? ""))
    }

    /// Removes what an upload in parts holds; a failure is logged.
    func abandonUpload(_ key: String, _ upload: String) async {
        do throws(ObjectStorageError) {
            try await abort(client.configuration.location.objectKey(key), upload)
        } catch {
            client.logger.warning(
                "an unfinished upload stays behind until the next sweep",
                metadata: ["key": "\(key)", "error": "\(error)"])
        }
    }

    private func abort(_ objectKey: String, _ upload: String) async throws(ObjectStorageError) {
        let label = client.configuration.location.relativeKey(objectKey) ?? objectKey
        let call = S3Call(
            action: "abort an upload of", label: label, method: .delete, key: objectKey, query: [("uploadId", upload)])
        do throws(ObjectStorageError) {
            _ = try await client.perform(call)
        } catch {
            // Gone already, by itself or with its bucket.
            guard
                error.code == .notFound || error.code == .noSuchBucket || error.message.contains("NoSuchUpload")
            else { throw error }
        }
    }

    /// Aborts uploads in parts below the prefix that began before `time` by the store's clock and were never finished:
    /// what they hold is paid for and seen by nobody. Answers how many. Throws any temporary code, and `.accessDenied`.
    @discardableResult
    package func abortStaleUploads(olderThan time: Timestamp) async throws(ObjectStorageError) -> Int {
        var aborted = 0
        var marker: (key: String, upload: String)?
        let prefix = client.configuration.location.objectKey("")
        repeat {
            var call = S3Call(action: "list the unfinished uploads of", label: nil, method: .get, key: nil)
            call.query = [("uploads", ""), ("prefix", prefix), ("max-uploads", "1000")]
            if let marker { call.query += [("key-marker", marker.key), ("upload-id-marker", marker.upload)] }
            let (_, bytes) = try await client.perform(call, maximumBytes: 8 << 20)
            let page = try document(bytes, call)
            for upload in page.all("Upload") {
                guard let key = upload["Key"]?.text, let id = upload["UploadId"]?.text, key.hasPrefix(prefix),
                    let began = upload["Initiated"].flatMap({ CalendarTime.parse(rfc3339: $0.text) }), began < time
                else { continue }
                try await abort(key, id)
                aborted += 1
            }
            let next = (key: page["NextKeyMarker"]?.text ?? "", upload: page["NextUploadIdMarker"]?.text ?? "")
            let isLast = page["IsTruncated"]?.text != "true" || next.key.isEmpty
            marker = isLast || next.key == marker?.key && next.upload == marker?.upload ? nil : next
        } while marker != nil
        return aborted
    }

    /// The root of an answer. Throws `.corrupted` when it is no XML.
    func document(_ bytes: [UInt8], _ call: S3Call) throws(ObjectStorageError) -> XMLElement {
        do throws(XMLReader.Malformed) {
            return try XMLElement.parse(bytes)
        } catch {
            throw ObjectStorageError(
                .corrupted,
                "\(call.failing(client.configuration.location)): the server's answer is no whole XML document (\(error))",
                cause: error, isAmbiguous: call.method.changesData)
        }
    }

    private static func escaped(_ text: String) -> String {
        text.reduce(into: "") { result, character in
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            default: result.append(character)
            }
        }
    }
}

extension HTTPBody {
    /// The same bytes as bodies of `size` bytes each, the last one shorter.
    func split(_ size: Int) -> [HTTPBody] {
        var bodies: [HTTPBody] = []
        var open: [Piece] = []
        var room = size
        for piece in pieces {
            var rest = piece.range
            while !rest.isEmpty {
                let taken = rest.prefix(room)
                open.append(Piece(piece.buffer, taken))
                rest = rest.dropFirst(taken.count)
                room -= taken.count
                if room == 0 {
                    bodies.append(HTTPBody(pieces: open))
                    open = []
                    room = size
                }
            }
        }
        if !open.isEmpty { bodies.append(HTTPBody(pieces: open)) }
        return bodies
    }
}
