internal import FoundationEssentials
internal import GRPCCore
internal import Synchronization
internal import Velero
internal import VeleroProtocol

/// Velero's VolumeSnapshotter. `Init` comes as for the object store.
final class VolumeSnapshotterService: Generated_VolumeSnapshotter.SimpleServiceProtocol {
    private let registry: PluginRegistry
    private let snapshotters = Mutex<[String: any VolumeSnapshotterPlugin]>([:])

    init(_ registry: PluginRegistry) { self.registry = registry }

    private func snapshotter(_ plugin: String) throws(VeleroError) -> any VolumeSnapshotterPlugin {
        guard let snapshotter = snapshotters.withLock({ $0[plugin] }) else {
            try Self.check(plugin)
            throw VeleroError(.invalidArgument, "no location was given: Velero calls Init before anything else")
        }
        return snapshotter
    }

    private static func check(_ plugin: String) throws(VeleroError) {
        guard plugin == PluginName.volumes.rawValue else {
            throw VeleroError(
                .notFound, "there is no volume snapshotter '\(plugin)' here: use \(PluginName.volumes.rawValue)")
        }
    }

    func `init`(
        request: Generated_VolumeSnapshotterInitRequest, context: ServerContext
    ) async throws -> Generated_Empty {
        try await RPCFailure.mapping(plugin: request.plugin) {
            try Self.check(request.plugin)
            let snapshotter = try await registry.openVolumeSnapshotter(request.config)
            snapshotters.withLock { $0[request.plugin] = snapshotter }
            return Generated_Empty()
        }
    }

    func createVolumeFromSnapshot(
        request: Generated_CreateVolumeRequest, context: ServerContext
    ) async throws -> Generated_CreateVolumeResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            var response = Generated_CreateVolumeResponse()
            response.volumeID = try await snapshotter(request.plugin).createVolume(
                snapshotID: request.snapshotID, type: request.volumeType, zone: request.volumeAz,
                iops: request.iops == 0 ? nil : request.iops)
            return response
        }
    }

    func getVolumeInfo(
        request: Generated_GetVolumeInfoRequest, context: ServerContext
    ) async throws -> Generated_GetVolumeInfoResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            let info = try await snapshotter(request.plugin).info(volumeID: request.volumeID, zone: request.volumeAz)
            var response = Generated_GetVolumeInfoResponse()
            response.volumeType = info.type
            response.iops = info.iops ?? 0
            return response
        }
    }

    func createSnapshot(
        request: Generated_CreateSnapshotRequest, context: ServerContext
    ) async throws -> Generated_CreateSnapshotResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            var response = Generated_CreateSnapshotResponse()
            response.snapshotID = try await snapshotter(request.plugin).createSnapshot(
                volumeID: request.volumeID, zone: request.volumeAz, tags: request.tags)
            return response
        }
    }

    func deleteSnapshot(
        request: Generated_DeleteSnapshotRequest, context: ServerContext
    ) async throws -> Generated_Empty {
        try await RPCFailure.mapping(plugin: request.plugin) {
            try await snapshotter(request.plugin).deleteSnapshot(request.snapshotID)
            return Generated_Empty()
        }
    }

    func getVolumeID(
        request: Generated_GetVolumeIDRequest, context: ServerContext
    ) async throws -> Generated_GetVolumeIDResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            var response = Generated_GetVolumeIDResponse()
            response.volumeID = try await snapshotter(request.plugin).volumeID(
                persistentVolume: request.persistentVolume.bytes)
            return response
        }
    }

    func setVolumeID(
        request: Generated_SetVolumeIDRequest, context: ServerContext
    ) async throws -> Generated_SetVolumeIDResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            var response = Generated_SetVolumeIDResponse()
            response.persistentVolume = Data(
                try await snapshotter(request.plugin).setVolumeID(
                    request.volumeID, persistentVolume: request.persistentVolume.bytes))
            return response
        }
    }
}
