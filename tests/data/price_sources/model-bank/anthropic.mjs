//#region src/aiModels/anthropic.ts
const anthropicChatModels = [
	{
		id: "claude-opus-5-5",
		pricing: { units: [
			{
				name: "textInput_cacheRead",
				rate: .2,
				strategy: "fixed",
				unit: "millionTokens"
			},
			{
				name: "textInput",
				rate: 4,
				strategy: "fixed",
				unit: "millionTokens"
			},
			{
				name: "textOutput",
				rate: 20,
				strategy: "fixed",
				unit: "millionTokens"
			},
			{
				name: "textInput_cacheWrite",
				rate: 5,
				strategy: "fixed",
				unit: "millionTokens"
			}
		] },
	},
	{
		id: "claude-sonnet-4-5-20250929",
		pricing: { units: [
			{
				name: "textInput",
				rate: 3,
				strategy: "fixed",
				unit: "millionTokens"
			},
			{
				name: "textOutput",
				rate: 15,
				strategy: "fixed",
				unit: "millionTokens"
			},
			{
				name: "textInput_cacheRead",
				rate: .3,
				strategy: "fixed",
				unit: "millionTokens"
			},
			{
				name: "textInput_cacheWrite",
				rate: 3.75,
				strategy: "fixed",
				unit: "millionTokens"
			}
		] },
	},
];
const allModels = [...anthropicChatModels];
//#endregion
export { allModels, allModels as default };
