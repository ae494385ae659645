"""The openai package talks to ink serve unchanged: completions whole and streamed, log-probabilities, models, errors."""

import os
import pathlib
import re
import subprocess
import tempfile

from common import require, train

(openai,) = require("openai")

KEY = "sesame"


def expect_completions(client, model):
    options = dict(model=model, prompt="It was", max_tokens=8, seed=3, temperature=0.7)
    answer = client.completions.create(**options, n=2, logprobs=2, echo=True, top_p=0.9, presence_penalty=0.1,
                                       frequency_penalty=0.1, logit_bias={"5": -1}, stop=["\x00"], user="somebody",
                                       extra_body={"top_k": 10, "min_p": 0.01, "repetition_penalty": 1.1})
    assert answer.object == "text_completion" and answer.model == model and len(answer.choices) == 2
    first = answer.choices[0]
    assert first.text.startswith("It was") and first.finish_reason in ("length", "stop")
    assert first.logprobs.token_logprobs[0] is None and all(p <= 0 for p in first.logprobs.token_logprobs[1:])
    assert len(first.logprobs.tokens) == len(first.logprobs.text_offset) == len(first.logprobs.top_logprobs)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens

    whole = client.completions.create(**options)
    assert client.completions.create(**options).choices[0].text == whole.choices[0].text, "the seed decides"
    text, usage = "", None
    for event in client.completions.create(**options, stream=True, stream_options={"include_usage": True}):
        text += event.choices[0].text if event.choices else ""
        usage = event.usage or usage
    assert text == whole.choices[0].text, (text, whole.choices[0].text)
    assert usage == whole.usage, (usage, whole.usage)

    stream = client.completions.create(**(options | {"max_tokens": 20}), stream=True)
    next(iter(stream))
    stream.close()


def expect_errors(client, model, url):
    def expect(kind, status, call):
        try:
            call()
        except kind as error:
            assert error.status_code == status and error.body["message"], error
        else:
            raise AssertionError(f"no {kind.__name__}")

    expect(openai.AuthenticationError, 401, openai.OpenAI(base_url=url, api_key="wrong", max_retries=0).models.list)
    expect(openai.NotFoundError, 404, lambda: client.completions.create(model="other", prompt="a"))
    expect(openai.BadRequestError, 400, lambda: client.completions.create(model=model, prompt="a", temperature=-1))


def main():
    with tempfile.TemporaryDirectory() as name:
        checkpoint = train(pathlib.Path(name))
        server = subprocess.Popen([os.environ["INK"], "serve", "--model", checkpoint, "--port", "0", "--name", "tiny"],
                                  stdout=subprocess.PIPE, text=True, env=os.environ | {"INK_API_KEY": KEY})
        try:
            url = re.search("http://[^ \n]+", server.stdout.readline()).group() + "/v1"
            client = openai.OpenAI(base_url=url, api_key=KEY, max_retries=0)
            assert [m.id for m in client.models.list()] == ["tiny"]
            assert client.models.retrieve("tiny").object == "model"
            expect_completions(client, "tiny")
            expect_errors(client, "tiny", url)
        finally:
            server.terminate()
        assert server.wait() == 0
    print(f"openai {openai.__version__}: all as expected")


main()
