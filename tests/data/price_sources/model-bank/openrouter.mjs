//#region src/aiModels/openrouter.ts
const openrouterChatModels = [
	{
		id: "qwen/qwen3-8b:free",
		pricing: { units: [{
			name: "textInput",
			rate: 0,
			strategy: "fixed",
			unit: "millionTokens"
		}] },
	},
];
const allModels = [...openrouterChatModels];
//#endregion
export { allModels, allModels as default };
