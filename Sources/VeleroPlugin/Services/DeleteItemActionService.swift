internal import FoundationEssentials
internal import GRPCCore
internal import Velero
internal import VeleroProtocol

/// Velero's DeleteItemAction.
struct DeleteItemActionService: Generated_DeleteItemAction.SimpleServiceProtocol {
    let actions: [any DeleteItemAction]

    private func action(_ name: String) throws(VeleroError) -> any DeleteItemAction {
        try PluginRegistry.find(name, in: actions) { $0.name }
    }

    func appliesTo(
        request: Generated_DeleteItemActionAppliesToRequest, context: ServerContext
    ) async throws -> Generated_DeleteItemActionAppliesToResponse {
        try await RPCFailure.mapping(plugin: request.plugin) {
            var response = Generated_DeleteItemActionAppliesToResponse()
            response.resourceSelector = Generated_ResourceSelector(try await action(request.plugin).appliesTo())
            return response
        }
    }

    func execute(
        request: Generated_DeleteItemActionExecuteRequest, context: ServerContext
    ) async throws -> Generated_Empty {
        try await RPCFailure.mapping(plugin: request.plugin) {
            let action = try action(request.plugin)
            guard request.item.count <= ActionItem.maximumBytes else { return Generated_Empty() }
            try await action.execute(item: request.item.bytes, backup: request.backup.bytes)
            return Generated_Empty()
        }
    }
}
